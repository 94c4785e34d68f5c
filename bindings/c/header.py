"""Reads include/ipc.h, as the project writes it: its sections, and what each of them declares, with the comments."""

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Member:
    """An enumerator (with its value), or a field of a structure (its declaration)."""

    code: str
    about: str


@dataclass
class Item:
    """One declaration."""

    kind: str  # "constant", "type" or "function"
    name: str
    code: str
    about: str
    members: list[Member] = field(default_factory=list)


@dataclass
class Section:
    title: str
    about: str
    items: list[Item] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Item]:
        return [item for item in self.items if item.kind == kind]


def read(path: Path) -> list[Section]:
    """The header's sections. The first has no title: what stands before the others."""
    text = path.read_text()
    opening, *rest = re.split(r"^/\*\n \* ======== (.+) ========\n", text, flags=re.MULTILINE)
    about, _, macros = opening.partition("*/")
    first = Section("", _comment(about.removeprefix("/*")))
    for comment, code in re.findall(r"^/\* (.+?) \*/\n((?:#define .*\n)+)", macros, flags=re.MULTILINE):
        first.items.append(Item("constant", code.split()[1].partition("(")[0], code.strip(), comment))
    sections = [first]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        about, _, body = body.partition("*/")
        body = body.partition("#ifdef __cplusplus\n}")[0]
        declarations = re.findall(r"^/\*\*\n(.*?)^ \*/\n(.*?)(?=^/\*\*\n|\Z)", body, flags=re.MULTILINE | re.DOTALL)
        sections.append(
            Section(title, _comment(about), [_item(_comment(comment), code.strip()) for comment, code in declarations])
        )
    return sections


def _item(about: str, code: str) -> Item:
    code = re.sub(r"^IPC_MUST_USE\s+", "", code)
    if code.startswith("#define"):
        return Item("constant", code.split()[1], code, about)
    if enum := re.match(r"enum (\w+)", code):
        return Item("type", enum[1], f"enum {enum[1]}", about, _members(code))
    if struct := re.match(r"typedef struct \{.*\} (\w+);", code, flags=re.DOTALL):
        return Item("type", struct[1], re.sub(r"  /\*\*\n.*?\*/\n", "", code, flags=re.DOTALL), about, _members(code))
    if handle := re.match(r"typedef .*?\(?\*?(\w+)(\)\(.*\))?;", code):
        return Item("type", handle[1], code, about)
    if function := re.match(r"[\w ]+[ *](ipc_\w+)\(", code):
        return Item("function", function[1], code, about)
    raise ValueError(f"what is this in the header?\n{code}")


def _members(code: str) -> list[Member]:
    members = re.findall(r"^  /\*\*\n(.*?)^   \*/\n  ([^\n]+)[,;]$", code, flags=re.MULTILINE | re.DOTALL)
    return [Member(member, _comment(about)) for about, member in members]


def _comment(text: str) -> str:
    return "\n".join(re.sub(r"^\s*\* ?", "", line).rstrip() for line in text.splitlines()).strip("\n")
