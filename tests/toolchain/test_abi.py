"""The ABI only grows: programs that were compiled with an earlier header work with this library.

bindings/c/abi has the record of it. The types of all functions come from the header, as a compiler sees it (that the library is
what the header says is what tests/header.rs and tests/c/symbols.sh see to), and abidiff of libabigail compares. What takes
something away or changes it fails. What adds something (a function, a number, a field at the end of a structure that may grow)
fails until `make abi` has recorded it.

Where something has to change all the same, remove the record first; programs have to be compiled anew then, so the library needs
another soname.
"""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import HEADER, MAP, PATIENCE, ROOT, run
from header import Section, read

ABI = ROOT / "bindings" / "c" / "abi"
CXX = os.environ.get("CXX", "c++")
NEW_FUNCTION = "IPC_MUST_USE ipc_result ipc_wait("


def recorded_abi(directory: Path, header: str, versions: str) -> Path:
    """The ABI of a library with the functions of this header. As C++, in which results are an enumeration and not a number."""
    (directory / "ipc.h").write_text(header)
    (directory / "rsipc.map").write_text(versions)
    lines = ['#include "ipc.h"']
    for section in read(directory / "ipc.h"):
        lines += [f"{function.code.removesuffix(';')} {{ return {{}}; }}" for function in section.of_kind("function")]
    (directory / "abi.cpp").write_text("\n".join(lines))
    library = directory / "librsipc.so"
    link = ["-shared", "-fPIC", "-Wl,-soname,librsipc.so.0", f"-Wl,--version-script={directory / 'rsipc.map'}"]
    run(CXX, "-std=c++17", "-g", *link, "abi.cpp", "-o", library, cwd=directory)
    record = directory / "rsipc.abi"
    run(
        "abidw",
        "--no-corpus-path",
        "--no-comp-dir-path",
        "--no-show-locs",
        "--type-id-style",
        "hash",
        "--out-file",
        record,
        library,
    )
    return record


def recorded_constants(directory: Path, sections: list[Section]) -> dict[str, int]:
    """The numbers that the header defines, and that programs have inside."""
    names = [item.name for section in sections[1:] for item in section.of_kind("constant")]
    names += ["IPC_RENDEZVOUS", "IPC_UNBOUNDED", "IPC_NO_LEASES"]
    lines = ['#include "ipc.h"', "#include <cstdio>", "int main() {"]
    lines += [f'std::printf("{name} %lld\\n", static_cast<long long>({name}));' for name in names]
    (directory / "constants.cpp").write_text("\n".join([*lines, "}"]))
    run(CXX, "-std=c++17", f"-I{HEADER.parent}", "constants.cpp", "-o", "constants", cwd=directory)
    return parse(run(directory / "constants"))


def parse(constants: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in constants.splitlines())}


def difference(old: Path, new: Path) -> tuple[str, str]:
    """Whether the ABI is the `same`, `grew` or `broke`, and how."""

    def abidiff(*options: object) -> subprocess.CompletedProcess[str]:
        line = ["abidiff", "--leaf-changes-only", "--no-architecture", *map(str, options), str(old), str(new)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode & 3 == 0, done.stderr  # 1: it failed, 2: it was called in a wrong way
        return done

    broken = abidiff("--no-added-syms", "--suppressions", ABI / "growth.suppr")
    if broken.returncode != 0:
        return "broke", broken.stdout
    grown = abidiff("--harmless")
    return ("same" if grown.returncode == 0 else "grew"), grown.stdout


def test_the_abi_is_the_one_on_record(tmp_path: Path) -> None:
    bless = os.environ.get("RSIPC_BLESS") == "1"
    record = ABI / "rsipc.abi"
    current = recorded_abi(tmp_path, HEADER.read_text(), MAP.read_text())
    what, how = difference(record, current) if record.exists() else ("grew", "there is no record")
    assert what != "broke", f"programs that were compiled with an earlier header break:\n{how}"
    if bless and what == "grew":
        record.write_text(current.read_text())
    else:
        assert what == "same", f"the ABI has grown, which `make abi` records:\n{how}"


def test_constants_are_those_on_record(tmp_path: Path) -> None:
    bless = os.environ.get("RSIPC_BLESS") == "1"
    record = ABI / "constants"
    current = recorded_constants(tmp_path, read(HEADER))
    old = parse(record.read_text()) if record.exists() else {}
    broken = {name: (value, current.get(name)) for name, value in old.items() if current.get(name) != value}
    assert not broken, f"constants that compiled programs have inside have changed (from, to): {broken}"
    if bless:
        record.write_text("".join(f"{name} {value}\n" for name, value in current.items()))
    else:
        assert current == old, "there are new constants, which `make abi` records"


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{text.count(old)} times in the header: {old}"
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("broke", "ipc_queue_len(const ipc_queue *queue, size_t", "ipc_queue_len(const ipc_queue *queue, uint32_t"),
        ("broke", "ipc_mutex_unlock(ipc_mutex *mutex)", "ipc_mutex_unlock(ipc_mutex *mutex, bool now)"),
        ("broke", "ipc_mutex_unlock(ipc_mutex *mutex)", "ipc_mutex_release(ipc_mutex *mutex)"),
        ("broke", "uint32_t ipc_version_number(void)", "uint64_t ipc_version_number(void)"),
        ("broke", "IPC_ERR_TIMED_OUT = -9,", "IPC_ERR_TIMED_OUT = -90,"),
        ("broke", "  size_t capacity;\n", "  size_t added;\n  size_t capacity;\n"),
        ("broke", "  uint32_t deliveries;\n", "  uint64_t deliveries;\n"),
        ("broke", "} ipc_address;", "  uint64_t added;\n} ipc_address;"),
        ("grew", "} ipc_queue_options;", "  size_t added;\n} ipc_queue_options;"),
        ("grew", "  IPC_ERR_PANIC = -99,", "  IPC_ERR_PANIC = -99,\n  IPC_ERR_ADDED = -27,"),
        ("grew", NEW_FUNCTION, "IPC_MUST_USE ipc_result ipc_added(void);\n\n/**\n * Text.\n */\n" + NEW_FUNCTION),
        ("same", "Waits until one of", "Waits until any of"),
    ],
)
def test_a_change_of_the_header_is_noticed(tmp_path: Path, what: str, old: str, new: str) -> None:
    added = MAP.read_text() + "RSIPC_0.2 {\n  global:\n    ipc_added;\n    ipc_mutex_release;\n} RSIPC_0.1;\n"
    current = recorded_abi(tmp_path, replaced(HEADER.read_text(), old, new), added)
    assert difference(ABI / "rsipc.abi", current)[0] == what


def test_a_function_that_moves_to_another_version_is_noticed(tmp_path: Path) -> None:
    moved = MAP.read_text().replace("    ipc_wait;\n", "") + "RSIPC_0.2 {\n  global:\n    ipc_wait;\n} RSIPC_0.1;\n"
    assert difference(ABI / "rsipc.abi", recorded_abi(tmp_path, HEADER.read_text(), moved))[0] == "broke"
