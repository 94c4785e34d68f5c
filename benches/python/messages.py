"""Messages of 64 bytes: one way, one way in batches, and there and back."""

import os
import time

from channels import (
    LENGTH,
    Channel,
    Iceoryx,
    MultiprocessingPipe,
    MultiprocessingQueue,
    Pipe,
    PosixQueue,
    Rsipc,
    Zmq,
)
from processes import Turn, run

BATCH = 64
RSIPC_BATCHES = "rsipc, send_many and recv_many (spins first)"

CHANNELS = {
    "rsipc (spins first)": Rsipc,
    "pyzmq over ipc (sleeps; batches inside)": Zmq,
    "iceoryx2 (spins)": Iceoryx,
    "os.pipe (sleeps)": Pipe,
    "multiprocessing.Pipe (sleeps)": MultiprocessingPipe,
    "multiprocessing.Queue (sleeps)": MultiprocessingQueue,
    "posix_ipc queue (sleeps)": PosixQueue,
}


def one_way(subject: str, count: int, directory: str, prefix: str) -> None:
    pass_along(CHANNELS[subject]("there", directory, prefix), count)


def pass_along(channel: Channel, count: int) -> None:
    message = bytes([7]) * LENGTH

    def send(turn: Turn) -> None:
        send = channel.sender()

        def work() -> int:
            for _ in range(count):
                send(message)
            return 0

        turn.measure(work)

    def receive(turn: Turn) -> None:
        receive = channel.receiver()

        def work() -> int:
            for _ in range(count):
                received = receive()
            check(received)
            return count

        turn.measure(work)

    run({"the sender": send, "the receiver": receive})


def check(message: object) -> None:
    # posix_ipc gives the priority, too.
    data = message[0] if isinstance(message, tuple) else message
    if data != bytes([7]) * LENGTH:
        raise SystemExit("the message is not what was sent")


def batches(subject: str, count: int, directory: str, prefix: str) -> None:
    if subject in CHANNELS:
        one_way(subject, count, directory, prefix)
    elif subject == RSIPC_BATCHES:
        several_at_a_time(count, directory, prefix)
    else:
        joined(count, directory, prefix)


def several_at_a_time(count: int, directory: str, prefix: str) -> None:
    """Batches of rsipc: a list of messages a call, of as many as there are."""
    channel, rounds = Rsipc("there", directory, prefix), -(-count // BATCH)
    messages = [bytes([7]) * LENGTH] * BATCH

    def send(turn: Turn) -> None:
        queue = channel.open()

        def work() -> int:
            for _ in range(rounds):
                sent = queue.send_many(messages)
                if sent < BATCH:
                    raise SystemExit(f"a batch ended after {sent} messages")
            return 0

        turn.measure(work)

    def receive(turn: Turn) -> None:
        queue = channel.open()

        def work() -> int:
            left = rounds * BATCH
            while left > 0:
                received = queue.recv_many(BATCH)
                left -= len(received)
            check(received[-1])
            return rounds * BATCH

        turn.measure(work)

    run({"the sender": send, "the receiver": receive})


def joined(count: int, directory: str, prefix: str) -> None:
    """What can be done with a pipe: many messages joined into one write, and split after the read."""
    pipe, rounds = Pipe("there", directory, prefix), -(-count // BATCH)
    messages = [bytes([7]) * LENGTH] * BATCH

    def send(turn: Turn) -> None:
        def work() -> int:
            for _ in range(rounds):
                os.write(pipe.writes, b"".join(messages))
            return 0

        turn.measure(work)

    def receive(turn: Turn) -> None:
        file = os.fdopen(pipe.reads, "rb", buffering=0)

        def work() -> int:
            for _ in range(rounds):
                data = b""
                while len(data) < BATCH * LENGTH:
                    data += file.read(BATCH * LENGTH - len(data)) or b""
                received = [data[at : at + LENGTH] for at in range(0, BATCH * LENGTH, LENGTH)]
            check(received[-1])
            return rounds * BATCH

        turn.measure(work)

    run({"the sender": send, "the receiver": receive})


def round_trips(subject: str, count: int, directory: str, prefix: str) -> None:
    there, back = CHANNELS[subject]("there", directory, prefix), CHANNELS[subject]("back", directory, prefix)
    singles = max(1, min(count // 8, 4000))
    message = bytes([7]) * LENGTH

    def ask(turn: Turn) -> None:
        receive, send = back.receiver(), there.sender()

        def work() -> int:
            for _ in range(count):
                send(message)
                received = receive()
            check(received)
            return count

        def one_by_one() -> None:
            for _ in range(singles):
                start = time.monotonic_ns()
                send(message)
                receive()
                turn.sample(time.monotonic_ns() - start)

        turn.measure(work)
        turn.beside(one_by_one)

    def answer(turn: Turn) -> None:
        receive, send = there.receiver(), back.sender()

        def trips(count: int) -> int:
            for _ in range(count):
                receive()
                send(message)
            return 0

        turn.measure(lambda: trips(count))
        turn.beside(lambda: trips(singles))

    run({"the asker": ask, "the answerer": answer})
