"""Writes the manual pages from the comments of include/ipc.h: man.py HEADER DIRECTORY

rsipc(7) is the header's beginning; each of its sections is a page of section 3, which the names of its functions lead to.
"""

import re
import sys
import textwrap
from pathlib import Path

from header import Item, Section, read

# What each section of the header is called as a page, and what that is about.
PAGES = {
    "RESULTS": ("ipc_errors", "results of calls, and the release of the library"),
    "WAITING": ("ipc_timeouts", "how long a call may wait"),
    "NAMES": ("ipc_names", "names of objects, and the namespaces that they are in"),
    "REGIONS": ("ipc_region", "memory that processes share"),
    "MUTEXES": ("ipc_mutex", "locks between processes that survive the death of their owner"),
    "SEMAPHORES": ("ipc_semaphore", "counts between processes: signals, and permits that come back when a process dies"),
    "QUEUES": ("ipc_queue", "message queues between processes"),
    "BATCHES": ("ipc_batches", "send and receive many messages in one call"),
    "LEASES": ("ipc_leases", "messages that come back when the process that works on them dies"),
    "MESSAGES IN PLACE": ("ipc_loans", "write and read messages where they lie, without a copy"),
    "ENDPOINTS": ("ipc_endpoint", "a process's own address: messages, requests and replies"),
    "WAITING FOR SEVERAL": ("ipc_wait", "wait for several queues, endpoints and semaphores at once"),
    "COUNTERS": ("ipc_counters", "what happened to an object: messages, bytes, waits, what was put right of the dead"),
}


def main() -> None:
    header, out = Path(sys.argv[1]), Path(sys.argv[2])
    opening, *sections = read(header)
    if unknown := [section.title for section in sections if section.title not in PAGES]:
        sys.exit(f"{header} has new sections: say in PAGES of {__file__} what their pages are called: {', '.join(unknown)}")
    version = next(line.split('"')[1] for item in opening.items for line in item.code.splitlines() if "IPC_VERSION " in line)
    (out / "man3").mkdir(parents=True)
    (out / "man7").mkdir()
    (out / "man7" / "rsipc.7").write_text(overview(opening, version))
    for section in sections:
        name, _ = PAGES[section.title]
        (out / "man3" / f"{name}.3").write_text(page(section, version))
        for function in section.of_kind("function"):
            if function.name != name:
                (out / "man3" / f"{function.name}.3").write_text(f".so man3/{name}.3\n")


def overview(opening: Section, version: str) -> str:
    first, rest = opening.about.split("\n\n", 1)
    name, about = first.replace("\n", " ").split(": ")
    lines = [heading(name, 7, version), ".SH NAME", f"{name} \\- {about.rstrip('.')}"]
    # The first paragraphs are examples: what to include, how to link.
    lines += [".SH SYNOPSIS", *paragraphs(rest.split("\n\nC99")[0]), ".SH DESCRIPTION"]
    lines += paragraphs("C99" + rest.split("\n\nC99", 1)[1])
    lines += constants(opening)
    return ending(lines, name)


def page(section: Section, version: str) -> str:
    name, about = PAGES[section.title]
    functions = section.of_kind("function")
    names = dict.fromkeys([name, *(function.name for function in functions)])
    lines = [heading(name, 3, version), ".SH NAME", f"{', '.join(names)} \\- {about}"]
    lines += [".SH LIBRARY", "rsipc (librsipc, \\-lrsipc)"]
    lines += [".SH SYNOPSIS", ".nf", "\\fB#include <ipc.h>\\fP"]
    for function in functions:
        lines += ["", *prototype(function)]
    lines += [".fi", ".SH DESCRIPTION", *paragraphs(section.about)]
    lines += constants(section)
    if types := section.of_kind("type"):
        lines.append(".SH TYPES")
        for item in types:
            lines += [f".SS {item.name}", *paragraphs(item.about)]
            if not item.code.startswith("enum"):
                lines += [".PP", *example(item.code)]
            for member in item.members:
                lines += [".TP", f"\\fB{escape(member.code)}\\fP", *paragraphs(member.about, indented=True)]
    if functions:
        lines.append(".SH FUNCTIONS")
    for function in functions:
        lines += [f".SS {function.name}", ".nf", *prototype(function), ".fi", ".PP", *paragraphs(function.about)]
    return ending(lines, name)


def heading(name: str, section: int, version: str) -> str:
    # Neither hyphens nor wide gaps: the names of functions stay whole.
    return f'.TH {name} {section} "" "rsipc {version}" "rsipc manual"\n.nh\n.ad l'


def ending(lines: list[str], name: str) -> str:
    others = [f"\\fB{other}\\fP(3)" for other, _ in PAGES.values() if other != name]
    if name != "rsipc":
        others.append("\\fBrsipc\\fP(7)")
    return "\n".join([*lines, ".SH SEE ALSO", *(f"{other}," for other in others[:-1]), others[-1]]) + "\n"


def constants(section: Section) -> list[str]:
    lines = [".SH CONSTANTS"] if section.of_kind("constant") else []
    for item in section.of_kind("constant"):
        defined = [escape(line.removeprefix("#define ")) for line in item.code.splitlines()]
        lines += [".TP", f"\\fB{defined[0]}\\fP"]
        for line in defined[1:]:
            lines += [".TQ", f"\\fB{line}\\fP"]
        lines += paragraphs(item.about, indented=True)
    return lines


def prototype(function: Item) -> list[str]:
    """A prototype with its parameters in italics, lines not filled."""
    code = escape(function.code)
    before, _, parameters = code.partition("(")
    parameters = re.sub(r"(\w+)(?=[,)])", lambda match: match[1] if match[1] == "void" else f"\\fI{match[1]}\\fB", parameters)
    return [f"\\fB{line}\\fP" for line in f"{before}({parameters}".splitlines()]


def paragraphs(text: str, *, indented: bool = False) -> list[str]:
    """Text as it stands in a comment: paragraphs, headings in capitals, examples that are set in by four blanks."""
    lines: list[str] = []
    for block in text.split("\n\n"):
        if re.fullmatch(r"[A-Z ]+", block):
            lines.append(f".SH {block}")
            continue
        if lines and not lines[-1].startswith(".SH"):
            lines.append(".IP" if indented else ".PP")
        lines += example(textwrap.dedent(block)) if block.startswith("    ") else filled(block)
    return lines


def filled(text: str) -> list[str]:
    """One paragraph, a line for each sentence, as the formatter wants it."""
    sentences = re.sub(r"(?<=[.!?:;]) (?=[A-Z*`]|ipc_)", "\n", " ".join(text.split())).splitlines()
    return [marked(line) for sentence in sentences for line in textwrap.wrap(sentence, 76, break_on_hyphens=False)]


def marked(text: str) -> str:
    """Names of the interface in bold, what the code calls its arguments in italics."""
    text = escape(text)
    text = re.sub(r"`([^`]+)`", r"\\fI\1\\fP", text)
    text = re.sub(r"\b(ipc_\w+|IPC_\w+|RSIPC_\w+)", r"\\fB\1\\fP", text)
    text = re.sub(r"\b(\w+)(\(\d\))", r"\\fB\1\\fP\2", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def example(code: str) -> list[str]:
    return [".RS 4", ".nf", *(escape(line) for line in code.splitlines()), ".fi", ".RE"]


def escape(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    main()
