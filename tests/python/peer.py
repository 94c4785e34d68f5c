"""The Python side of the tests that mix languages: one command a run, in the namespace that RSIPC_DIR names."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable

import rsipc

BOUND = 20.0
"""No wait lasts longer, in seconds."""

PLACED = {"mutex": 0, "semaphore": 128, "permits": 4096, "queue": 16384}
"""The offsets of the objects in the region of placed-create."""

CAPACITIES = {"zero": 0, "unbounded": None}
"""Those that have names."""


def message(number: int) -> bytes:
    return number.to_bytes(8, "little") + bytes([number & 0xFF]) * (number % 50)


def number_of(received: bytes) -> int:
    number = int.from_bytes(received[:8], "little")
    check(received == message(number), f"message {number} is {received!r}")
    return number


def check(right: bool, wrong: str) -> None:
    if not right:
        sys.exit(wrong)


def die_saying(line: str) -> None:
    print(line, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def queue_create(name: str, capacity: str, max_message: str) -> None:
    rsipc.Queue.create(name, CAPACITIES[capacity] if capacity in CAPACITIES else int(capacity), int(max_message))


def queue_send(name: str, first: str, count: str) -> None:
    queue = rsipc.Queue.open(name)
    for number in range(int(first), int(first) + int(count)):
        queue.send(message(number), timeout=BOUND)


def queue_recv(name: str, first: str, count: str) -> None:
    queue = rsipc.Queue.open(name)
    for number in range(int(first), int(first) + int(count)):
        received = queue.recv(timeout=BOUND)
        check(received == message(number), f"message {number} is {received!r}")


def queue_sum(name: str, count: str) -> None:
    queue = rsipc.Queue.open(name)
    print(sum(number_of(queue.recv(timeout=BOUND)) for _ in range(int(count))))


def queue_until_closed(name: str) -> None:
    queue = rsipc.Queue.open(name)
    count = 0
    while True:
        try:
            queue.recv(timeout=BOUND)
        except rsipc.Closed:
            break
        count += 1
    print(count)


def queue_send_loans(name: str, first: str, count: str) -> None:
    queue = rsipc.Queue.open(name)
    for number in range(int(first), int(first) + int(count)):
        data = message(number)
        with queue.loan(len(data), timeout=BOUND) as loan:
            with memoryview(loan) as space:
                space[:] = data
            loan.send(timeout=BOUND)


def queue_recv_views(name: str, first: str, count: str) -> None:
    queue = rsipc.Queue.open(name)
    for number in range(int(first), int(first) + int(count)):
        with queue.recv_view(timeout=BOUND) as view:
            check(bytes(view) == message(number), f"message {number} is {bytes(view)!r}")


def queue_view_die(name: str) -> None:
    queue = rsipc.Queue.open(name)
    _kept = queue.recv_view(timeout=BOUND), queue.loan(8, timeout=BOUND)
    die_saying("viewed")


def queue_lease_die(name: str) -> None:
    lease = rsipc.Queue.open(name).lease(timeout=BOUND)
    number_of(lease.message)
    die_saying("leased")


def queue_lease_sum(name: str) -> None:
    queue = rsipc.Queue.open(name)
    total = 0
    while True:
        try:
            lease = queue.lease(timeout=BOUND)
        except rsipc.Closed:
            break
        with lease:
            total += number_of(lease.message)
    print(total)


def queue_shutdown(name: str) -> None:
    rsipc.Queue.open(name).shutdown()


PATTERN = bytes(range(251)) * 1000


def recorded_message(number: int, longest: int) -> bytes:
    """Eight bytes of the number, and from none to as many bytes as there is room for, in a pattern that follows from it."""
    length = min((number % 61) ** (1 + number % 3), longest - 8)
    return number.to_bytes(8, "little") + PATTERN[number % 251 :][:length]


def queue_history(name: str, log: str, first: str, role: str, seconds: str) -> None:
    """Does now this, now that, until the queue is shut down, and writes down each operation before and after it.

    Its messages have the numbers from `first` on. `role`: send, recv or both. After so many seconds it ends in any case.
    """
    signal.alarm(int(seconds))
    signal.signal(signal.SIGUSR1, lambda *_: None)
    queue = rsipc.Queue.open(name)
    longest, number, chance = queue.max_message, int(first), random.Random(int(first))
    outcome = ""
    with open(log, "wb", buffering=0) as record:

        def note(what: str) -> None:
            record.write(f"{time.monotonic_ns()} {what}\n".encode())

        while outcome != "closed":
            sends = role == "send" or (role == "both" and chance.random() < 0.5)
            verb = "send" if sends else "recv"
            # One message, or so many in one call.
            many = 0 if chance.random() < 0.75 else chance.randint(1, 5)
            verb += "_many" if many else ""
            name, timeout = chance.choice([(verb, BOUND), (f"try_{verb}", 0), (f"{verb}_timeout", chance.uniform(0, 0.003))])
            fresh = range(number + 1, number + 1 + max(many, 1)) if sends else range(0)
            number += len(fresh)
            note(" ".join(map(str, [name, *fresh[:1], *([many] if many else [])])))
            outcome = "ok"
            try:
                if many and sends:
                    sent = queue.send_many([recorded_message(i, longest) for i in fresh], timeout)
                    outcome = f"ok {sent}"
                elif sends:
                    queue.send(recorded_message(number, longest), timeout)
                else:
                    messages = queue.recv_many(many, timeout) if many else [queue.recv(timeout)]
                    came = [int.from_bytes(message[:8], "little") for message in messages]
                    is_torn = messages != [recorded_message(i, longest) for i in came]
                    outcome = "torn" if is_torn else " ".join(map(str, ["ok", *came]))
            except rsipc.Timeout:
                outcome = "timed_out"
            except rsipc.WouldBlock:
                outcome = "would_block"
            except rsipc.Closed:
                outcome = "closed"
            note(outcome)
            check(outcome != "timed_out" or timeout != BOUND, f"a {name} hangs")
            if chance.random() < 1 / 16:
                time.sleep(chance.uniform(0, 0.002))


def endpoint_serve(name: str, count: str) -> None:
    endpoint = rsipc.Endpoint.open(name)
    print("open", flush=True)
    for _ in range(int(count)):
        request = endpoint.recv(timeout=BOUND)
        request.reply(message(number_of(request.data) + 1))


def endpoint_die(name: str) -> None:
    endpoint = rsipc.Endpoint.open(name)
    print("open", flush=True)
    request = endpoint.recv(timeout=BOUND)
    check(request.wants_reply, "this is no request")
    os.kill(os.getpid(), signal.SIGKILL)


def endpoint_call(name: str, first: str, count: str) -> None:
    endpoint = rsipc.Endpoint.open()
    to = endpoint.find(name)
    for number in range(int(first), int(first) + int(count)):
        reply = endpoint.call(to, message(number), timeout=BOUND)
        check(reply == message(number + 1), f"the reply to {number} is {reply!r}")


def endpoint_gone(name: str) -> None:
    endpoint = rsipc.Endpoint.open()
    try:
        endpoint.call(endpoint.find(name), message(0), timeout=BOUND)
    except rsipc.PeerGone:
        return
    sys.exit("somebody replied")


def mutex_add(name: str, region: str, offset: str, times: str) -> None:
    mutex = rsipc.Mutex.open(name)
    number = memoryview(rsipc.Region.open(region))[int(offset) : int(offset) + 8].cast("Q")
    for _ in range(int(times)):
        mutex.acquire(timeout=BOUND)
        number[0] += 1
        mutex.release()


def mutex_die(name: str) -> None:
    mutex = rsipc.Mutex.open(name)
    mutex.acquire(timeout=BOUND)
    die_saying("locked")


def mutex_recover(name: str) -> None:
    mutex = rsipc.Mutex.open(name)
    with mutex.recover(timeout=BOUND) as owner_died:
        check(owner_died, "the owner has not died")
    with mutex.recover(timeout=BOUND) as owner_died:
        check(not owner_died, "the owner's death is told again")


def sem_acquire(name: str, count: str) -> None:
    semaphore = rsipc.Semaphore.open(name)
    for _ in range(int(count)):
        semaphore.acquire(timeout=BOUND)


def sem_release(name: str, count: str) -> None:
    rsipc.Semaphore.open(name).release(int(count))


def permit_die(name: str, count: str) -> None:
    sem_acquire(name, count)
    die_saying("held")


def region_write(name: str, offset: str, text: str) -> None:
    data = text.encode()
    memoryview(rsipc.Region.open(name))[int(offset) : int(offset) + len(data)] = data


def region_read(name: str, offset: str, text: str) -> None:
    data = text.encode()
    found = bytes(memoryview(rsipc.Region.open(name))[int(offset) : int(offset) + len(data)])
    check(found == data, f"there is {found!r}")


def region_grow(name: str, size: str) -> None:
    rsipc.Region.open(name).grow(int(size))


def placed_create(name: str) -> None:
    region = rsipc.Region.create(name, 65536)
    rsipc.Mutex.create_in(region, PLACED["mutex"])
    rsipc.Semaphore.create_in(region, PLACED["semaphore"], 0)
    rsipc.Semaphore.create_permits_in(region, PLACED["permits"], 2)
    rsipc.Queue.create_in(region, PLACED["queue"], capacity=4, max_message=100, leases=0)


def placed_use(name: str) -> None:
    region = rsipc.Region.open(name)
    mutex = rsipc.Mutex.open_in(region, PLACED["mutex"])
    semaphore = rsipc.Semaphore.open_in(region, PLACED["semaphore"])
    permits = rsipc.Semaphore.open_in(region, PLACED["permits"])
    queue = rsipc.Queue.open_in(region, PLACED["queue"])
    mutex.acquire(timeout=BOUND)
    mutex.release()
    semaphore.release(1)
    semaphore.acquire(timeout=BOUND)
    permits.acquire(timeout=BOUND)
    permits.release()
    queue.send(b"x", timeout=BOUND)
    check(queue.recv(timeout=BOUND) == b"x", "another message came")


COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__.replace("_", "-"): command
    for command in (
        queue_create,
        queue_send,
        queue_recv,
        queue_sum,
        queue_until_closed,
        queue_lease_die,
        queue_lease_sum,
        queue_send_loans,
        queue_recv_views,
        queue_view_die,
        queue_shutdown,
        queue_history,
        endpoint_serve,
        endpoint_die,
        endpoint_call,
        endpoint_gone,
        mutex_add,
        mutex_die,
        mutex_recover,
        sem_acquire,
        sem_release,
        permit_die,
        region_write,
        region_read,
        region_grow,
        placed_create,
        placed_use,
    )
}

if __name__ == "__main__":
    check(len(sys.argv) > 1 and sys.argv[1] in COMMANDS, f"usage: peer.py {'|'.join(COMMANDS)} ...")
    COMMANDS[sys.argv[1]](*sys.argv[2:])
