"""make install: other projects, in C and C++, find the library with pkg-config and CMake and run; and the command is there."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HEADER, PATIENCE, ROOT, run
from header import read
from man import PAGES

PREFIX = Path("/opt/rsipc")
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
COMPILERS = {"c": [os.environ.get("CC", "cc"), "-std=c99"], "cpp": [os.environ.get("CXX", "c++"), "-std=c++17"]}
PROGRAMS = ["hello_send", "hello_recv"]
SECTIONS = read(HEADER)
VERSION = next(line.split('"')[1] for line in HEADER.read_text().splitlines() if line.startswith("#define IPC_VERSION "))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is installed, as for a package: what is to be in /opt/rsipc is below it."""
    directory = tmp_path_factory.mktemp("stage")
    run("make", "install", f"DESTDIR={directory}", f"PREFIX={PREFIX}")
    return directory


@pytest.fixture
def namespace() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="rsipc-test-", dir="/dev/shm")
    yield directory
    shutil.rmtree(directory)


def installed(stage: Path, place: str) -> Path:
    return stage / PREFIX.relative_to("/") / place


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def greet(directory: Path, suffix: str, env: dict[str, str]) -> None:
    """Runs the two programs, the one that waits first."""
    with subprocess.Popen([directory / f"hello_recv{suffix}"], env=env, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            run(directory / f"hello_send{suffix}", env=env)
            output, _ = receiver.communicate(timeout=PATIENCE)
        finally:
            receiver.kill()
    assert (receiver.returncode, output) == (0, "Hello, world!\n")


def sources(directory: Path, suffix: str) -> list[Path]:
    """The two programs, copied to where nothing else of the project is."""
    return [Path(shutil.copy(ROOT / f"examples/c/{name}.c", directory / f"{name}.{suffix}")) for name in PROGRAMS]


def unstruck(text: str) -> str:
    """Without the letters that a printer would strike over."""
    return "".join(letter for i, letter in enumerate(text) if letter != "\b" and text[i + 1 : i + 2] != "\b")


def test_two_sides_of_a_hello_world_are_forty_lines() -> None:
    assert sum(len((ROOT / f"examples/c/{name}.c").read_text().splitlines()) for name in PROGRAMS) <= 40


def test_what_is_installed(stage: Path, tmp_path: Path) -> None:
    run(str(installed(stage, "bin/rsipc")), "man", str(tmp_path))
    pages = {page for page, _ in PAGES.values()}
    functions = {function.name for section in SECTIONS for function in section.of_kind("function")}
    assert files(stage / PREFIX.relative_to("/")) == {
        "include/ipc.h",
        "lib/librsipc.a",
        "lib/librsipc.so",
        "lib/librsipc.so.0",
        f"lib/librsipc.so.{VERSION}",
        "lib/pkgconfig/rsipc.pc",
        "lib/cmake/rsipc/rsipc-config.cmake",
        "lib/cmake/rsipc/rsipc-config-version.cmake",
        "share/man/man7/rsipc.7",
        *(f"share/man/man3/{page}.3" for page in pages | functions),
        "bin/rsipc",
        *(f"share/man/man1/{page.name}" for page in tmp_path.iterdir()),
        "share/bash-completion/completions/rsipc",
        "share/zsh/site-functions/_rsipc",
        "share/fish/vendor_completions.d/rsipc.fish",
    }
    assert installed(stage, "lib/librsipc.so").readlink() == Path("librsipc.so.0")
    assert installed(stage, "lib/librsipc.so.0").readlink() == Path(f"librsipc.so.{VERSION}")
    assert str(stage) not in installed(stage, "lib/pkgconfig/rsipc.pc").read_text()


@pytest.mark.parametrize("linked", ["shared", "static"])
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_an_outside_project_with_pkg_config(stage: Path, tmp_path: Path, namespace: str, language: str, linked: str) -> None:
    env = os.environ | {
        "PKG_CONFIG_SYSROOT_DIR": str(stage),
        "PKG_CONFIG_PATH": str(installed(stage, "lib/pkgconfig")),
        "RSIPC_DIR": namespace,
    }
    assert run("pkg-config", "--modversion", "rsipc", env=env).strip() == VERSION
    static = linked == "static"
    flags = run("pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "rsipc", env=env).split()
    flags += ["-static"] if static else []
    for source in sources(tmp_path, language):
        # The linker warns of what it is to take in from the C library, too.
        run(*COMPILERS[language], *STRICT, source, "-o", source.with_suffix(""), *flags)
        needed = run("readelf", "-dV", source.with_suffix(""))
        assert ("librsipc.so.0]" in needed, "Name: RSIPC_0.1" in needed) == (not static, not static)
    greet(tmp_path, "", env | {"LD_LIBRARY_PATH": str(installed(stage, "lib"))})


@pytest.mark.parametrize(("language", "suffix"), [("C", "c"), ("CXX", "cpp")])
def test_an_outside_project_with_cmake(stage: Path, tmp_path: Path, namespace: str, language: str, suffix: str) -> None:
    sources(tmp_path, suffix)
    shutil.copy(ROOT / "tests/toolchain/outside/CMakeLists.txt", tmp_path)
    build = tmp_path / "build"
    prefix = stage / PREFIX.relative_to("/")
    run("cmake", "-S", tmp_path, "-B", build, f"-DLANGUAGE={language}", f"-DSUFFIX={suffix}", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    env = os.environ | {"RSIPC_DIR": namespace}
    assert "librsipc.so.0]" in run("readelf", "-d", build / "hello_send")
    assert "librsipc" not in run("readelf", "-d", build / "hello_send-static")
    greet(build, "", env)
    greet(build, "-static", env)


def test_the_manual_pages_are_in_order(stage: Path) -> None:
    man = installed(stage, "share/man")
    # Those of the command, in section 1, are as their generator writes them.
    pages = [page for page in sorted(man.glob("man[37]/*")) if not page.read_text().startswith(".so ")]
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, timeout=PATIENCE)
    # They have no date, but the release that they are of.
    assert [line for line in lint.stdout.splitlines() if "missing date" not in line] == []
    assert len(pages) == len(SECTIONS)


def test_every_function_has_a_manual_page_that_explains_it(stage: Path) -> None:
    man = installed(stage, "share/man")
    for section in SECTIONS[1:]:
        family, _ = PAGES[section.title]
        words = " ".join(unstruck(run("mandoc", "-T", "ascii", "-O", "width=200", man / "man3" / f"{family}.3")).split())
        for function in section.of_kind("function"):
            assert function.name == family or (man / "man3" / f"{function.name}.3").read_text() == f".so man3/{family}.3\n"
            assert " ".join(function.code.split()) in words
            assert function.about.splitlines()[0].replace("`", "") in words


def test_uninstall_leaves_what_is_not_ours_and_nothing_else(tmp_path: Path) -> None:
    where = [f"DESTDIR={tmp_path}", "PREFIX=/usr", "libdir=/usr/lib/somewhere"]
    theirs = tmp_path / "usr/lib/somewhere/pkgconfig/theirs.pc"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    run("make", "install", *where)
    assert (tmp_path / "usr/lib/somewhere/librsipc.so.0").exists()
    run("make", "uninstall", *where)
    assert files(tmp_path) == {"usr/lib/somewhere/pkgconfig/theirs.pc"}
    assert not (tmp_path / "usr/lib/somewhere/cmake/rsipc").exists()
