"""Bad input of every kind gets an error that says what was wrong."""

import builtins
import os
import pickle
import queue as standard
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rsipc
from processes import BOUND, run

CREATE: dict[str, Callable[..., object]] = {
    "region": lambda name, **rest: rsipc.Region.create(name, 100, **rest),
    "mutex": rsipc.Mutex.create,
    "signals": lambda name, **rest: rsipc.Semaphore.create(name, 1, **rest),
    "permits": lambda name, **rest: rsipc.Semaphore.create_permits(name, 1, **rest),
    "queue": rsipc.Queue.create,
}
OPEN: dict[str, Callable[..., object]] = {
    "region": rsipc.Region.open,
    "mutex": rsipc.Mutex.open,
    "signals": rsipc.Semaphore.open,
    "permits": rsipc.Semaphore.open,
    "queue": rsipc.Queue.open,
}
CLASSES = ["Address", "Endpoint", "Lease", "Message", "Mutex", "Queue", "Recovery", "Region", "Semaphore"]
each = pytest.mark.parametrize("kind", CREATE)
BAD_NAMES = ["", ".", "..", ".hidden", "a/b", "/", "a\0b", "a\nb", "x" * 201, "ü" * 101, "\udcff", "a\ud800"]


@each
@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_impossible_names(kind: str, name: str) -> None:
    for call in (CREATE[kind], OPEN[kind], rsipc.unlink):
        with pytest.raises(rsipc.InvalidArgument, match="name") as error:
            call(name)
        assert isinstance(error.value, ValueError)
    assert rsipc.list() == []


@each
def test_names_of_the_wrong_type(kind: str) -> None:
    for name in (b"bytes", 1, None, Path("path")):
        calls: list[Callable[..., object]] = [CREATE[kind], OPEN[kind], rsipc.unlink]
        for call in calls:
            with pytest.raises(TypeError):
                call(name)


@each
@pytest.mark.parametrize("name", ["x", "x" * 200, "ü" * 100, "with space", "日本", "-", "~", "a.b"])
def test_possible_names(kind: str, name: str) -> None:
    CREATE[kind](name)
    OPEN[kind](name)
    assert [entry.name for entry in rsipc.list()] == [name]
    rsipc.unlink(name)
    assert rsipc.list() == []


@each
def test_a_name_that_is_not_there_or_is_already(kind: str) -> None:
    with pytest.raises(rsipc.NotFound, match="thing") as error:
        OPEN[kind]("thing")
    assert isinstance(error.value, FileNotFoundError)
    assert (error.value.errno, error.value.code) == (2, -2)
    CREATE[kind]("thing")
    with pytest.raises(rsipc.AlreadyExists, match="thing") as exists:
        CREATE[kind]("thing")
    assert isinstance(exists.value, FileExistsError)
    assert exists.value.errno == 17
    rsipc.unlink("thing")
    with pytest.raises(FileNotFoundError):
        rsipc.unlink("thing")


@each
def test_another_kind(kind: str) -> None:
    CREATE[kind]("thing")
    for other in OPEN:
        if OPEN[other] != OPEN[kind]:
            with pytest.raises(rsipc.WrongKind) as error:
                OPEN[other]("thing")
            assert isinstance(error.value, TypeError)


@each
@pytest.mark.parametrize("mode", [0o400, 0, 0o777, 0o1600, -1, 1 << 40])
def test_impossible_modes(kind: str, mode: int) -> None:
    with pytest.raises(rsipc.InvalidArgument):
        CREATE[kind]("thing", mode=mode)
    assert rsipc.list() == []


@each
def test_modes(kind: str, namespace: Path) -> None:
    for mode in (0o600, 0o660, 0o666):
        CREATE[kind](f"thing{mode}", mode=mode)
        assert (namespace / f"thing{mode}").stat().st_mode & 0o777 == mode


@each
def test_another_directory(kind: str, namespace: Path) -> None:
    directory = namespace / "sub"
    CREATE[kind]("thing", dir=directory)
    OPEN[kind]("thing", dir=str(directory))
    with pytest.raises(rsipc.NotFound):
        OPEN[kind]("thing")
    assert [entry.name for entry in rsipc.list(dir=directory)] == ["thing"]
    assert rsipc.list() == []
    rsipc.unlink("thing", dir=directory)
    directory.rmdir()
    assert rsipc.list(dir=directory) == []
    for wrong in ("", "a\0b"):
        with pytest.raises(rsipc.InvalidArgument):
            CREATE[kind]("thing", dir=wrong)
    for wrong_type in (1, [], object()):
        with pytest.raises(TypeError):
            CREATE[kind]("thing", dir=wrong_type)
    (namespace / "file").touch()
    with pytest.raises(rsipc.Error):
        CREATE[kind]("thing", dir=namespace / "file")
    with pytest.raises(rsipc.Error):
        CREATE[kind]("thing", dir=namespace / "not" / "there")


@each
def test_files_that_are_no_objects(kind: str, namespace: Path) -> None:
    for content in (b"", b"x", b"x" * 100, bytes(100_000), os.urandom(100_000)):
        (namespace / "thing").write_bytes(content)
        with pytest.raises(rsipc.Error):
            OPEN[kind]("thing")
    (namespace / "thing").unlink()
    (namespace / "thing").symlink_to("/dev/null")
    with pytest.raises(rsipc.Corrupted):
        OPEN[kind]("thing")
    (namespace / "thing").unlink()
    (namespace / "thing").mkdir()
    with pytest.raises(rsipc.Corrupted):
        OPEN[kind]("thing")
    (namespace / "thing").rmdir()
    os.mkfifo(namespace / "thing")
    with pytest.raises(rsipc.Error):
        OPEN[kind]("thing")
    assert rsipc.list() == []


@each
def test_objects_that_were_cut_short(kind: str, namespace: Path) -> None:
    CREATE[kind]("thing")
    os.truncate(namespace / "thing", 16)
    with pytest.raises(rsipc.Error):
        OPEN[kind]("thing")


def test_what_there_is() -> None:
    for kind, create in CREATE.items():
        create(kind)
    entries = rsipc.list()
    assert [entry.name for entry in entries] == sorted(CREATE)
    assert {entry.name: entry.kind for entry in entries} == {
        "region": "region",
        "mutex": "mutex",
        "signals": "semaphore",
        "permits": "semaphore",
        "queue": "queue",
    }
    assert all(entry.size > 0 and entry.memory >= 0 for entry in entries)


def test_no_permission() -> None:
    rsipc.Queue.create("q")
    text = """
        if os.geteuid() == 0:
            os.setresuid(65534, 65534, 65534)
        else:
            os.chmod(os.environ['RSIPC_DIR'], 0)
        for call in (rsipc.Queue.open, rsipc.Queue.create, rsipc.Queue.open_or_create, rsipc.unlink):
            try:
                call('q')
            except rsipc.PermissionDenied as error:
                assert isinstance(error, PermissionError) and error.errno == 13
            else:
                sys.exit(f'{call} was allowed')
        try:
            rsipc.list()
        except PermissionError:
            pass
        else:
            sys.exit('listing was allowed')
    """
    run(text)


def test_no_descriptor_left() -> None:
    rsipc.Queue.create("q")
    text = """
        import resource
        rsipc.Region.open_or_create('r', 10)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        region = None
        for call in (lambda: rsipc.Queue.open('q'), lambda: rsipc.Mutex.create('m'), lambda: rsipc.Region.anonymous(5)):
            try:
                call()
            except rsipc.TooManyFiles as error:
                assert isinstance(error, OSError) and error.errno == 24
            else:
                sys.exit('there was a descriptor')
    """
    run(text)


def test_no_room_for_a_file() -> None:
    text = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        region = rsipc.Region.create('r', 1000)
        for call in (
            lambda: rsipc.Region.create('big', 1 << 21),
            lambda: rsipc.Queue.create('q', 1000, 10000),
            lambda: region.grow(1 << 21),
        ):
            try:
                call()
            except rsipc.NoSpace as error:
                assert isinstance(error, OSError) and error.errno == 28
            else:
                sys.exit('there was room')
        assert len(region) == 1000
        assert [entry.name for entry in rsipc.list()] == ['r']
    """
    run(text)


def test_a_full_disk() -> None:
    text = """
        region = rsipc.Region.create('r', 1000)
        queue = rsipc.Queue.create('q', capacity=64, max_message=1 << 20)
        sent = 0
        try:
            while True:
                queue.try_send(b'x' * (1 << 20))
                sent += 1
        except rsipc.NoSpace:
            pass
        for call in (lambda: rsipc.Region.create('big', 1 << 24), lambda: region.grow(1 << 24)):
            try:
                call()
            except rsipc.NoSpace:
                pass
            else:
                sys.exit('there was room')
        assert 0 < sent < 4
        for _ in range(sent):
            assert queue.recv(0) == b'x' * (1 << 20)
    """
    program = "import os, sys, rsipc\n" + "\n".join(line[8:] for line in text.splitlines())
    mount = 'mount -t tmpfs -o size=4m tmpfs "$RSIPC_DIR" && exec "$0" -c "$1"'
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    done = subprocess.run([*own, "sh", "-c", mount, sys.executable, program], capture_output=True, text=True, timeout=BOUND)
    assert done.returncode == 0, done.stderr


def test_no_memory_to_map() -> None:
    text = """
        import resource
        rsipc.Region.create('r', 1 << 28)
        resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
        try:
            rsipc.Region.open('r')
        except rsipc.NoMemory as error:
            assert isinstance(error, MemoryError)
        else:
            sys.exit('there was memory')
    """
    run(text)


def test_memory_for_a_message_is_got_before_it_is_taken() -> None:
    queue = rsipc.Queue.create("q", capacity=1, max_message=1 << 28)
    queue.send(bytes(1 << 28))
    text = """
        import resource
        queue = rsipc.Queue.open('q')
        with open('/proc/self/statm') as statm:
            now = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 26), now + (1 << 26)))
        try:
            queue.recv()
        except MemoryError:
            pass
        else:
            sys.exit('there was memory')
    """
    run(text)
    assert len(queue) == 1
    assert len(queue.recv(0)) == 1 << 28


@pytest.mark.parametrize(
    ("error", "built_in"),
    [
        (rsipc.InvalidArgument, ValueError),
        (rsipc.NotFound, FileNotFoundError),
        (rsipc.AlreadyExists, FileExistsError),
        (rsipc.PermissionDenied, PermissionError),
        (rsipc.WrongKind, TypeError),
        (rsipc.WrongVersion, Exception),
        (rsipc.Corrupted, Exception),
        (rsipc.WouldBlock, BlockingIOError),
        (rsipc.Timeout, TimeoutError),
        (rsipc.Closed, EOFError),
        (rsipc.MessageTooLong, ValueError),
        (rsipc.BufferTooSmall, Exception),
        (rsipc.NotRecoverable, Exception),
        (rsipc.Deadlock, RuntimeError),
        (rsipc.NotOwner, RuntimeError),
        (rsipc.Interrupted, InterruptedError),
        (rsipc.NoSpace, OSError),
        (rsipc.NoMemory, MemoryError),
        (rsipc.TooManyFiles, OSError),
        (rsipc.LimitReached, Exception),
        (rsipc.Reentrant, Exception),
        (rsipc.Unsupported, Exception),
        (rsipc.OsError, OSError),
        (rsipc.PeerGone, ConnectionError),
        (rsipc.NoReply, Exception),
        (rsipc.Disconnected, ConnectionError),
    ],
)
def test_each_error_has_the_code_of_c_and_a_built_in_kind(
    error: type[rsipc.Error], built_in: type[Exception], request: pytest.FixtureRequest
) -> None:
    number = request.node.callspec.indices["error"]
    assert error.code == -1 - number
    assert issubclass(error, rsipc.Error)
    assert issubclass(error, built_in)
    assert error.__module__ == "rsipc"


def test_errors_of_queues_are_those_of_the_standard_library() -> None:
    assert issubclass(rsipc.Full, standard.Full)
    assert issubclass(rsipc.Empty, standard.Empty)
    assert issubclass(rsipc.Full, rsipc.WouldBlock)
    assert issubclass(rsipc.SendTimeout, rsipc.Full)
    assert issubclass(rsipc.RecvTimeout, rsipc.Timeout)
    assert rsipc.SendTimeout.code == rsipc.RecvTimeout.code == rsipc.Timeout.code
    assert rsipc.OwnerDied.code == 1


def test_errors_can_be_pickled() -> None:
    queue = rsipc.Queue.create("q")
    for call in (queue.try_recv, lambda: queue.recv(0.001), lambda: rsipc.Mutex.open("none"), lambda: rsipc.Mutex.open("")):
        with pytest.raises(rsipc.Error) as error:
            call()
        again = pickle.loads(pickle.dumps(error.value))
        assert (type(again), str(again), again.code) == (type(error.value), str(error.value), error.value.code)


@pytest.mark.parametrize("kind", [getattr(rsipc, name) for name in CLASSES])
def test_a_class_is_no_constructor(kind: type[Any]) -> None:
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError):
        kind("name")


def test_everything_has_a_docstring() -> None:
    for name in rsipc.__all__:
        thing = getattr(rsipc, name)
        assert thing.__doc__, name
        if isinstance(thing, type) and thing.__module__ == "rsipc":
            for attribute, value in vars(thing).items():
                if not attribute.startswith("_") and (callable(value) or isinstance(value, staticmethod)):
                    assert getattr(thing, attribute).__doc__, f"{name}.{attribute}"
    assert rsipc.list is not builtins.list
