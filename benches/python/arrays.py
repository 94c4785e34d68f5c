"""numpy arrays of 8 MB: the sender marks the first and the last number of each, the receiver reads both."""

import ctypes
import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
from channels import Iceoryx
from processes import Turn, run

SIZE = 8_000_000
BLOCKS = 4
# So many arrays touch all the memory there is before they are timed.
WARM_UP = 16

Array = np.ndarray[Any, np.dtype[np.float64]]
Send = Callable[[float], object]
Receive = Callable[[], float]


def mark(array: Array, number: float) -> None:
    array[0] = array[-1] = number


def read(array: Array) -> float:
    if array[0] != array[-1] or array.nbytes != SIZE:
        raise SystemExit("the array is not what was sent")
    return float(array[0])


class RsipcLoans:
    def __init__(self, directory: str, prefix: str) -> None:
        import rsipc

        self.open = lambda: rsipc.Queue.open("arrays", dir=directory)
        rsipc.Queue.create("arrays", BLOCKS, SIZE, leases=BLOCKS, dir=directory)

    def sender(self) -> Send:
        queue = self.open()

        def send(number: float) -> None:
            loan = queue.loan(SIZE)
            mark(np.frombuffer(loan, np.float64), number)
            loan.send()

        return send

    def receiver(self) -> Receive:
        queue = self.open()

        def receive() -> float:
            with queue.recv_view() as view:
                return read(np.frombuffer(view, np.float64))

        return receive


class RsipcRegion:
    """Arrays in a region; one queue says which are filled, another one which are free again."""

    def __init__(self, directory: str, prefix: str) -> None:
        import rsipc

        self.open = lambda name: rsipc.Queue.open(name, dir=directory)
        for name in ("filled", "free"):
            rsipc.Queue.create(name, BLOCKS, 1, dir=directory)
        region = rsipc.Region.create("arrays", BLOCKS * SIZE, dir=directory)
        self.arrays = np.frombuffer(region, np.float64).reshape(BLOCKS, -1)
        for block in range(BLOCKS):
            self.open("free").send(bytes([block]))

    def sender(self) -> Send:
        free, filled = self.open("free"), self.open("filled")

        def send(number: float) -> None:
            block = free.recv()
            mark(self.arrays[block[0]], number)
            filled.send(block)

        return send

    def receiver(self) -> Receive:
        free, filled = self.open("free"), self.open("filled")

        def receive() -> float:
            block = filled.recv()
            number = read(self.arrays[block[0]])
            free.send(block)
            return number

        return receive


class SharedMemory:
    """Arrays in shared memory, filled and emptied in turn."""

    def __init__(self, directory: str, prefix: str) -> None:
        from multiprocessing import shared_memory

        memory = shared_memory.SharedMemory(f"{prefix}arrays", create=True, size=BLOCKS * SIZE)
        memory.unlink()
        self.memory = memory
        self.arrays = np.frombuffer(memory.buf, np.float64, BLOCKS * SIZE // 8).reshape(BLOCKS, -1)
        context = multiprocessing.get_context("fork")
        self.free, self.filled = context.Semaphore(BLOCKS), context.Semaphore(0)

    def sender(self) -> Send:
        at = 0

        def send(number: float) -> None:
            nonlocal at
            self.free.acquire()
            mark(self.arrays[at], number)
            at = (at + 1) % BLOCKS
            self.filled.release()

        return send

    def receiver(self) -> Receive:
        at = 0

        def receive() -> float:
            nonlocal at
            self.filled.acquire()
            number = read(self.arrays[at])
            at = (at + 1) % BLOCKS
            self.free.release()
            return number

        return receive


class MultiprocessingQueue:
    def __init__(self, directory: str, prefix: str) -> None:
        self.queue: multiprocessing.Queue[Array] = multiprocessing.get_context("fork").Queue(BLOCKS)

    def sender(self) -> Send:
        array = np.zeros(SIZE // 8)

        def send(number: float) -> None:
            mark(array, number)
            # It is pickled later, by another thread.
            self.queue.put(array.copy())

        return send

    def receiver(self) -> Receive:
        return lambda: read(self.queue.get())


class IceoryxLoans(Iceoryx):
    def __init__(self, directory: str, prefix: str) -> None:
        super().__init__("arrays", directory, prefix)

    def topic(self) -> Any:
        import iceoryx2

        node = iceoryx2.NodeBuilder.new().config(self.config).create(iceoryx2.ServiceType.Ipc)
        builder = node.service_builder(iceoryx2.ServiceName.new(self.name)).publish_subscribe(iceoryx2.Slice[ctypes.c_double])
        return builder.enable_safe_overflow(False).subscriber_max_buffer_size(BLOCKS).open_or_create()

    def sender(self) -> Send:
        import iceoryx2

        strategy = iceoryx2.BackpressureStrategy.RetryUntilDelivered
        builder = self.topic().publisher_builder().initial_max_slice_len(SIZE // 8)
        publisher = builder.backpressure_strategy(strategy).create()

        def send(number: float) -> None:
            delivered = 0
            while not delivered:
                sample = publisher.loan_slice_uninit(SIZE // 8)
                mark(np.ctypeslib.as_array(ctypes.cast(sample.payload_ptr, DOUBLES), (SIZE // 8,)), number)
                delivered = sample.assume_init().send()

        return send

    def receiver(self) -> Receive:
        subscriber = self.topic().subscriber_builder().create()

        def receive() -> float:
            while (sample := subscriber.receive()) is None:
                pass
            number = read(np.ctypeslib.as_array(ctypes.cast(sample.payload_ptr, DOUBLES), (SIZE // 8,)))
            sample.delete()
            return number

        return receive


DOUBLES = ctypes.POINTER(ctypes.c_double)

CHANNELS = {
    "rsipc, loaned (spins first)": RsipcLoans,
    "rsipc, a region, and queues that say which part (spins first)": RsipcRegion,
    "shared_memory and semaphores (sleeps)": SharedMemory,
    "multiprocessing.Queue, pickled (sleeps)": MultiprocessingQueue,
    "iceoryx2, loaned (spins)": IceoryxLoans,
}


def one_way(subject: str, count: int, directory: str, prefix: str) -> None:
    channel = CHANNELS[subject](directory, prefix)

    def send(turn: Turn) -> None:
        send = channel.sender()

        def work(count: int) -> int:
            for i in range(count):
                send(i)
            return 0

        turn.beside(lambda: work(WARM_UP))
        turn.measure(lambda: work(count))

    def receive(turn: Turn) -> None:
        receive = channel.receiver()

        def work(count: int) -> int:
            for i in range(count):
                if receive() != i:
                    raise SystemExit("the arrays are not in order")
            return count

        turn.beside(lambda: work(WARM_UP))
        turn.measure(lambda: work(count))

    run({"the sender": send, "the receiver": receive})
