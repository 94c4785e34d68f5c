"""What the book shows comes from files that tests run, and nothing else."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import DOCS, PROGRAMS, ROOT, SOURCES

PAGES = sorted(DOCS.rglob("*.md"))
IDS = [str(page.relative_to(DOCS)) for page in PAGES]
FENCED = re.compile(r"^(`{3,}|~{3,})(\S*)[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
INCLUDED = re.compile(r"\{\{#include ([^\s:}]+)(?::([\w-]+))?\}\}")
LANGUAGES = {"c": [".c", ".h"], "python": [".py"], "rust": [".rs"], "sh": [".sh"], "toml": [".toml"]}
# All that is in these directories is run: by the tests beside this one, and by those of the examples (`test_examples.py`,
# `tests/c/Makefile`, `tests/toolchain/test_install.py`).
RUN = [PROGRAMS, ROOT / "examples" / "python", ROOT / "examples" / "c"]


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each block of code."""
    return [(language, text) for _, language, text in FENCED.findall(page.read_text())]


def shown(page: Path) -> set[Path]:
    """The files that a page includes."""
    return {(page.parent / path).resolve() for path, _ in INCLUDED.findall(page.read_text())}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_each_snippet_comes_from_a_file_that_is_run(page: Path) -> None:
    for language, text in blocks(page):
        if language == "text":  # a drawing
            assert not INCLUDED.search(text)
            continue
        assert language in LANGUAGES, f"```{language}"
        match = INCLUDED.fullmatch(text.strip())
        assert match, f"this is no file's: {text}"
        path, anchor = (page.parent / match[1]).resolve(), match[2]
        assert path.suffix in LANGUAGES[language]
        assert any(path.is_relative_to(directory) for directory in RUN), path
        lines = path.read_text().splitlines()
        begins, ends = (f"# ANCHOR: {anchor}", f"# ANCHOR_END: {anchor}")
        if anchor:
            assert lines.index(begins) + 1 < lines.index(ends)
        else:
            assert not any("ANCHOR" in line for line in lines), f"{path} is shown with its anchors"
    # Beside these a page shows nothing of other files but what a README says.
    readmes = [path for path in shown(page) if path.name == "README.md"]
    in_blocks = sum(len(INCLUDED.findall(text)) for _, text in blocks(page))
    assert in_blocks + len(readmes) == len(INCLUDED.findall(page.read_text()))
    assert all(path.is_file() for path in shown(page))


def test_each_program_is_shown() -> None:
    programs = {path for path in PROGRAMS.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    hidden = {SOURCES["rust"].parents[1] / "Cargo.toml"}
    assert programs - set().union(*map(shown, PAGES)) == hidden


def test_what_is_shown_in_one_language_is_shown_in_all() -> None:
    box = re.compile(r'<div class="languages">(.*?)</div>', re.DOTALL)
    boxes = [(page, text) for page in PAGES for text in box.findall(page.read_text())]
    assert len(boxes) > 10
    for page, text in boxes:
        assert [language for _, language, _ in FENCED.findall(text)] == ["c", "python", "rust"], page
        assert len({Path(path).stem for path, _ in INCLUDED.findall(text)}) == 1, page


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_no_snippet_hides_in_an_indented_block(page: Path) -> None:
    lines = FENCED.sub("", page.read_text()).splitlines()
    indented = [line.strip() for before, line in pairwise(lines) if not before.strip() and line.startswith("    ")]
    # Commands of the Makefile are looked at below.
    assert [line for line in indented if not line.startswith(("make ", "cargo test "))] == []


def test_commands_that_the_pages_name_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:`|^ {4}|[A-Z]=\S+ )make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert {"build", "kill", "bench"} <= named
    assert named <= targets


def test_the_drawings_have_the_offsets_of_the_layout() -> None:
    layout = (ROOT / "src" / "shm" / "layout.rs").read_text()
    drawing = (DOCS / "internals" / "file.md").read_text()
    for field in "send", "recv", "peers":
        offset = re.search(rf"offset_of!\(QueueLayout, {field}\) == (\d+)", layout)
        assert offset
        assert re.search(rf"┤ {offset[1]}\n   │ {field} ", drawing), f"{field} lies at {offset[1]}"
