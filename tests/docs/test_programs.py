"""The programs of the documentation do what it says, in each language, and with those in each other language."""

import signal
from pathlib import Path

import pytest
import rsipc
from conftest import LANGUAGES, SOURCES, SUFFIXES, Programs, stat, until

PAIRS = [(one, other) for one in LANGUAGES for other in LANGUAGES]
pairs = pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS])
NAMES = {"c": "C", "python": "Python", "rust": "Rust"}


def test_each_program_is_there_in_each_language() -> None:
    names = {language: {path.stem for path in SOURCES[language].glob(f"*{SUFFIXES[language]}")} for language in LANGUAGES}
    assert names["c"] == names["python"] == names["rust"]
    here = Path(__file__).read_text()
    assert [name for name in sorted(names["c"]) if f'"{name}"' not in here] == [], "these run in no test"


@pairs
def test_region(programs: Programs, one: str, other: str) -> None:
    programs.run(one, "region_write")
    assert programs.run(other, "region_read") == [f"written in {NAMES[one]}, in 4096 bytes"]


@pairs
def test_mutex(programs: Programs, one: str, other: str) -> None:
    assert programs.run(one, "transfer") == ["-10 and 10"]
    programs.run(one, "transfer", "die", status=-signal.SIGABRT)
    assert programs.run(other, "transfer") == ["somebody died: -20 and 10", "-30 and 30"]
    assert programs.run(one, "transfer") == ["-40 and 40"]


@pairs
def test_semaphore(programs: Programs, one: str, other: str) -> None:
    first, second = programs.start(one, "licence"), programs.start(one, "licence")
    for worker in first, second:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "working\n"
    third = programs.start(other, "licence")
    assert third.stdout is not None
    with pytest.raises(rsipc.WouldBlock):
        rsipc.Semaphore.open("licences").acquire(timeout=0)
    first.kill()
    assert third.stdout.readline() == "working\n"
    for worker in second, third:
        programs.finish(worker)


@pairs
@pytest.mark.parametrize("capacity", ["bounded", "unbounded", "rendezvous"])
def test_queue(programs: Programs, one: str, other: str, capacity: str) -> None:
    programs.run(one, "queue_create")
    receiver = programs.start(other, "queue_recv", capacity)
    texts = ["one", "two", "three", "four", "five", "six"]
    programs.run(one, "queue_send", capacity, *texts)
    assert programs.finish(receiver) == texts


@pairs
def test_event_loop(programs: Programs, one: str, other: str) -> None:
    programs.run(one, "queue_create")
    receiver = programs.start(other, "event_loop", "bounded")
    texts = ["one", "two", "three", "four", "five", "six"]
    programs.run(one, "queue_send", "bounded", *texts)
    assert programs.finish(receiver) == texts


@pairs
def test_leases(programs: Programs, one: str, other: str) -> None:
    jobs = rsipc.Queue.create("jobs")
    jobs.send_many([b"first", b"second"])
    jobs.shutdown()
    programs.run(one, "worker", "die", status=-signal.SIGABRT)
    assert programs.run(other, "worker") == ["first (delivery 2)", "second (delivery 1)"]


@pairs
def test_typed(programs: Programs, one: str, other: str) -> None:
    programs.run(one, "sample_send")
    degrees = [f"sensor 7, sample {number}: {20 + number / 2} degrees" for number in (1, 2, 3)]
    assert programs.run(other, "sample_recv") == degrees


@pairs
def test_counters(programs: Programs, one: str, other: str) -> None:
    programs.run(one, "batch_send")
    programs.run(one, "batch_recv")
    assert programs.run(other, "counters") == ["3 messages of 11 bytes sent, 3 received", "0 deaths noticed"]


@pairs
def test_batches(programs: Programs, one: str, other: str) -> None:
    assert programs.run(one, "batch_send") == ["3 sent"]
    assert programs.run(other, "batch_recv") == ["one", "two", "three"]


@pairs
def test_in_place(programs: Programs, one: str, other: str) -> None:
    programs.run(one, "frame_send")
    assert programs.run(other, "frame_recv") == ["8388608 bytes, the last of them 7"]


@pairs
def test_endpoint(programs: Programs, one: str, other: str) -> None:
    server = programs.start(one, "shout_server")
    until(lambda: "shouter" in [entry.name for entry in rsipc.list()])
    assert programs.run(other, "shout_client", "hello") == ["HELLO"]
    caller = programs.start(other, "shout_client")
    assert programs.finish(caller) == [""]
    programs.finish(server)


@pairs
def test_a_call_to_a_server_that_dies(programs: Programs, stage: dict[str, str], one: str, other: str) -> None:
    server = programs.start(one, "shout_server")
    until(lambda: "shouter" in [entry.name for entry in rsipc.list()])
    server.send_signal(signal.SIGSTOP)
    caller = programs.start(other, "shout_client", "hello")
    until(lambda: stat(stage, "shouter")["waiting"] == 1)
    server.kill()
    assert programs.finish(caller) == ["the server is gone"]


@pairs
def test_waiting_for_several(programs: Programs, one: str, other: str) -> None:
    waiter = programs.start(other, "wait")
    programs.run(one, "batch_send")
    programs.run(one, "stop")
    assert programs.finish(waiter) == ["one", "two", "three", "stopped"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_sharing_with_a_group(programs: Programs, namespace: Path, language: str) -> None:
    directory = namespace / "team"
    directory.mkdir()
    programs.run(language, "share", str(directory))
    assert rsipc.Queue.open("jobs", dir=directory).recv() == b"for the team"
    assert (directory / "jobs").stat().st_mode & 0o777 == 0o660


@pairs
def test_ending_with_the_peers(programs: Programs, one: str, other: str) -> None:
    receiver = programs.start(other, "until_gone")
    programs.run(one, "batch_send")
    assert programs.finish(receiver) == ["one", "two", "three", "all senders are gone"]
