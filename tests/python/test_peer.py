"""The program that stands for Python in the tests that mix languages does what it says."""

import subprocess
import sys
from pathlib import Path

import rsipc
from processes import BOUND


def peer(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(Path(__file__).with_name("peer.py")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=BOUND)


def succeeds(*arguments: object) -> str:
    done = peer(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_queues() -> None:
    succeeds("queue-create", "q", 200, 100)
    succeeds("queue-send", "q", 250, 100)
    succeeds("queue-recv", "q", 250, 50)
    assert succeeds("queue-sum", "q", 20) == f"{sum(range(300, 320))}\n"
    assert peer("queue-recv", "q", 0, 1).returncode == 1
    succeeds("queue-shutdown", "q")
    assert succeeds("queue-until-closed", "q") == "29\n"
    failed = peer("queue-send", "q", 0, 1)
    assert failed.returncode == 1
    assert "Closed" in failed.stderr


def test_histories(tmp_path: Path) -> None:
    queue = rsipc.Queue.create("q", 100)
    queue.send(b"this is no recorded message")
    queue.shutdown()
    succeeds("queue-history", "q", tmp_path / "recv", 1000, "recv", 60)
    words = [line.split()[1:] for line in (tmp_path / "recv").read_text().splitlines()]
    assert words[1::2] == [["torn"], ["closed"]]
    succeeds("queue-history", "q", tmp_path / "send", 1000, "send", 60)
    words = [line.split()[1:] for line in (tmp_path / "send").read_text().splitlines()]
    assert [words[0][1], *words[1:]] == ["1001", ["closed"]]


def test_queues_of_every_capacity() -> None:
    for capacity, there in (("zero", 0), ("7", 7), ("unbounded", None)):
        succeeds("queue-create", capacity, capacity, 100)
        assert rsipc.Queue.open(capacity).capacity == there


def test_leases() -> None:
    succeeds("queue-create", "q", "unbounded", 100)
    succeeds("queue-send", "q", 250, 100)
    died = peer("queue-lease-die", "q")
    assert (died.returncode, died.stdout) == (-9, "leased\n")
    succeeds("queue-shutdown", "q")
    assert succeeds("queue-lease-sum", "q") == f"{sum(range(250, 350))}\n"


def test_endpoints() -> None:
    command = [sys.executable, str(Path(__file__).with_name("peer.py"))]
    with subprocess.Popen([*command, "endpoint-serve", "e", "10"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "open\n"
        succeeds("endpoint-call", "e", 250, 10)
        assert server.wait(BOUND) == 0
    with subprocess.Popen([*command, "endpoint-die", "e"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "open\n"
        succeeds("endpoint-gone", "e")
        assert server.wait(BOUND) == -9


def test_mutexes() -> None:
    rsipc.Mutex.create("m")
    region = rsipc.Region.create("r", 100)
    succeeds("mutex-add", "m", "r", 16, 10)
    succeeds("mutex-add", "m", "r", 16, 10)
    assert memoryview(region)[16] == 20
    assert peer("mutex-recover", "m").returncode == 1
    died = peer("mutex-die", "m")
    assert (died.returncode, died.stdout) == (-9, "locked\n")
    assert peer("mutex-add", "m", "r", 16, 1).returncode == 1
    succeeds("mutex-recover", "m")


def test_semaphores() -> None:
    semaphore = rsipc.Semaphore.create("s", 0)
    succeeds("sem-release", "s", 5)
    succeeds("sem-acquire", "s", 3)
    assert semaphore.value == 2
    permits = rsipc.Semaphore.create_permits("p", 3)
    died = peer("permit-die", "p", 2)
    assert (died.returncode, died.stdout) == (-9, "held\n")
    assert permits.value == 3


def test_regions() -> None:
    region = rsipc.Region.create("r", 100)
    succeeds("region-write", "r", 10, "grüße")
    succeeds("region-read", "r", 10, "grüße")
    assert peer("region-read", "r", 11, "grüße").returncode == 1
    succeeds("region-grow", "r", 100_000)
    assert len(region) == 100_000


def test_placed_objects() -> None:
    succeeds("placed-create", "r")
    succeeds("placed-use", "r")
    succeeds("placed-use", "r")
