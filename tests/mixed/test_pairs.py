"""Each of the nine pairs of languages exchanges every kind of object."""

import os
from pathlib import Path

import pytest
from conftest import LANGUAGES, PATIENCE, Peers

PAIRS = [(one, other) for one in LANGUAGES for other in LANGUAGES]
pairs = pytest.mark.parametrize(("one", "other"), PAIRS, ids=[f"{one}-{other}" for one, other in PAIRS])


capacities = pytest.mark.parametrize("capacity", ["zero", "7", "unbounded"])


@pairs
@capacities
def test_queue_keeps_order_and_bytes(peers: Peers, namespace: Path, one: str, other: str, capacity: str) -> None:
    peers.run(one, "queue-create", "q", capacity, 60)
    receiver = peers.start(other, "queue-recv", "q", 0, 2000)
    sender = peers.start(one, "queue-send", "q", 0, 2000)
    peers.finish(sender)
    peers.finish(receiver)


@pairs
@capacities
def test_queue_shutdown_ends_the_receiver(peers: Peers, namespace: Path, one: str, other: str, capacity: str) -> None:
    peers.run(one, "queue-create", "q", capacity, 60)
    receiver = peers.start(other, "queue-until-closed", "q")
    peers.run(one, "queue-send", "q", 0, 100)
    peers.run(one, "queue-shutdown", "q")
    assert peers.finish(receiver).strip() == "100"


@pairs
@capacities
def test_a_lease_of_the_dead_comes_back(peers: Peers, namespace: Path, one: str, other: str, capacity: str) -> None:
    peers.run(other, "queue-create", "q", capacity, 60)
    sender = peers.start(other, "queue-send", "q", 0, 100)
    peers.until_killed(one, "queue-lease-die", "q")
    workers = [peers.start(language, "queue-lease-sum", "q") for language in (one, other)]
    peers.finish(sender)
    peers.run(one, "queue-shutdown", "q")
    assert sum(int(peers.finish(worker)) for worker in workers) == sum(range(100))


@pairs
@pytest.mark.parametrize("capacity", ["zero", "7"])
@pytest.mark.parametrize("verbs", ["loans-views", "loans-copies", "copies-views"])
def test_messages_in_place(peers: Peers, namespace: Path, one: str, other: str, capacity: str, verbs: str) -> None:
    sends = "queue-send-loans" if verbs.startswith("loans") else "queue-send"
    receives = "queue-recv-views" if verbs.endswith("views") else "queue-recv"
    peers.run(one, "queue-create", "q", capacity, 60)
    receiver = peers.start(other, receives, "q", 0, 500)
    sender = peers.start(one, sends, "q", 0, 500)
    peers.finish(sender)
    peers.finish(receiver)


@pairs
def test_what_the_dead_had_in_place_comes_back(peers: Peers, namespace: Path, one: str, other: str) -> None:
    import rsipc

    queue = rsipc.Queue.create("q", 1, 60, leases=2)
    peers.run(other, "queue-send-loans", "q", 0, 1)
    peers.until_killed(one, "queue-view-die", "q")
    with queue.loan(1, timeout=20), queue.loan(1, timeout=20):
        pass
    peers.run(other, "queue-send-loans", "q", 0, 1)
    peers.run(one, "queue-recv-views", "q", 0, 1)
    queue.close()


@pairs
def test_calls_are_answered(peers: Peers, namespace: Path, one: str, other: str) -> None:
    server = peers.start(one, "endpoint-serve", "e", 300)
    peers.says(server, "open")
    callers = [peers.start(language, "endpoint-call", "e", 1000 * n, 100) for n, language in enumerate((one, other, other))]
    for caller in callers:
        peers.finish(caller)
    peers.finish(server)


@pairs
def test_the_death_of_the_server_ends_a_call(peers: Peers, namespace: Path, one: str, other: str) -> None:
    server = peers.start(one, "endpoint-die", "e")
    peers.says(server, "open")
    peers.run(other, "endpoint-gone", "e")


@pairs
def test_mutex_keeps_two_apart(peers: Peers, namespace: Path, one: str, other: str) -> None:
    peers.run(one, "placed-create", "r")
    # The mutex at 0 is used by the placed objects' test; this one has a name.
    create_mutex("m")
    adders = [peers.start(language, "mutex-add", "m", "r", 60000, 3000) for language in (one, other)]
    for adder in adders:
        peers.finish(adder)
    assert int.from_bytes(region_bytes("r", 60000, 8), "little") == 6000


@pairs
def test_mutex_tells_of_the_owner_s_death(peers: Peers, namespace: Path, one: str, other: str) -> None:
    create_mutex("m")
    peers.until_killed(one, "mutex-die", "m")
    peers.run(other, "mutex-recover", "m")


@pairs
def test_semaphore_wakes_the_other(peers: Peers, namespace: Path, one: str, other: str) -> None:
    create_semaphore("s", 0)
    waiter = peers.start(other, "sem-acquire", "s", 3)
    peers.run(one, "sem-release", "s", 3)
    peers.finish(waiter)


@pairs
def test_permits_of_the_dead_come_back(peers: Peers, namespace: Path, one: str, other: str) -> None:
    create_permits("p", 2)
    peers.until_killed(one, "permit-die", "p", 2)
    peers.run(other, "sem-acquire", "p", 2)


@pairs
def test_region_is_shared_and_grows(peers: Peers, namespace: Path, one: str, other: str) -> None:
    peers.run(one, "placed-create", "r")
    peers.run(one, "region-write", "r", 50000, "hello")
    peers.run(other, "region-read", "r", 50000, "hello")
    peers.run(other, "region-grow", "r", 200000)
    peers.run(one, "region-write", "r", 199990, "beyond")
    peers.run(other, "region-read", "r", 199990, "beyond")


@pairs
def test_objects_placed_in_a_region(peers: Peers, namespace: Path, one: str, other: str) -> None:
    peers.run(one, "placed-create", "r")
    peers.run(other, "placed-use", "r")
    peers.run(one, "placed-use", "r")


def test_each_message_goes_to_one_of_three_receivers(peers: Peers, namespace: Path) -> None:
    peers.run("c", "queue-create", "q", 10, 60)
    receivers = [peers.start(language, "queue-sum", "q", 1000) for language in LANGUAGES]
    senders = [peers.start(language, "queue-send", "q", 1000 * n, 1000) for n, language in enumerate(LANGUAGES)]
    for sender in senders:
        peers.finish(sender)
    assert sum(int(peers.finish(receiver)) for receiver in receivers) == sum(range(3000))


@pytest.mark.parametrize("contained", [False, True], ids=["home", "contained"])
def test_a_process_is_there_until_its_last_thread_ends(peers: Peers, namespace: Path, tmp_path: Path, contained: bool) -> None:
    import rsipc

    fifo = tmp_path / "end"
    os.mkfifo(fifo)
    with rsipc.Queue.create("q") as queue:
        peers.run("c", "queue-send", "q", 7, 1)
        start = peers.start_contained if contained else peers.start
        process = start("c", "queue-lease-outlive", "q", fifo)
        # Its first thread has ended by `pthread_exit`.
        peers.says(process, "alone")
        assert len(queue.peers()) == 2
        with pytest.raises(rsipc.Timeout):
            queue.lease(timeout=0.5)
        fifo.write_bytes(b"")
        with queue.lease(timeout=PATIENCE) as lease:
            assert lease.deliveries == 2
        peers.finish(process)
        assert len(queue.peers()) == 1


def create_mutex(name: str) -> None:
    import rsipc

    rsipc.Mutex.create(name).close()


def create_semaphore(name: str, value: int) -> None:
    import rsipc

    rsipc.Semaphore.create(name, value).close()


def create_permits(name: str, permits: int) -> None:
    import rsipc

    rsipc.Semaphore.create_permits(name, permits).close()


def region_bytes(name: str, offset: int, length: int) -> bytes:
    import rsipc

    with rsipc.Region.open(name) as region:
        return bytes(memoryview(region)[offset : offset + length])


@pairs
@capacities
def test_processes_in_containers_exchange_messages(peers: Peers, namespace: Path, one: str, other: str, capacity: str) -> None:
    peers.run(one, "queue-create", "q", capacity, 60)
    receiver = peers.start_contained(other, "queue-recv", "q", 0, 500)
    sender = peers.start_contained(one, "queue-send", "q", 0, 500)
    peers.finish(sender)
    peers.finish(receiver)
