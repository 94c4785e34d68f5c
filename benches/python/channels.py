"""Ways to pass messages: each makes what it needs, and gives an end that sends and one that receives.

An end is opened by the process that uses it. What a subject's module is missing for is not installed.
"""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import rsipc

Send = Callable[[bytes], object]
Receive = Callable[[], object]

CAPACITY = 256
LENGTH = 64


class Channel(Protocol):
    def sender(self) -> Send: ...

    def receiver(self) -> Receive: ...


class Rsipc:
    def __init__(self, name: str, directory: str, prefix: str) -> None:
        import rsipc

        self.name, self.directory = name, directory
        rsipc.Queue.create(name, CAPACITY, LENGTH, dir=directory)

    def open(self) -> "rsipc.Queue":
        import rsipc

        return rsipc.Queue.open(self.name, dir=self.directory)

    def sender(self) -> Send:
        return self.open().send

    def receiver(self) -> Receive:
        return self.open().recv


class Pipe:
    """Messages of one length."""

    def __init__(self, name: str, directory: str, prefix: str) -> None:
        self.reads, self.writes = os.pipe()

    def sender(self) -> Send:
        write, fd = os.write, self.writes
        return lambda message: write(fd, message)

    def receiver(self) -> Receive:
        read, fd = os.read, self.reads
        return lambda: read(fd, LENGTH)


class MultiprocessingPipe:
    def __init__(self, name: str, directory: str, prefix: str) -> None:
        ends: tuple[Connection, Connection] = multiprocessing.Pipe(duplex=False)
        self.reads, self.writes = ends

    def sender(self) -> Send:
        return self.writes.send_bytes

    def receiver(self) -> Receive:
        return self.reads.recv_bytes


class MultiprocessingQueue:
    def __init__(self, name: str, directory: str, prefix: str) -> None:
        self.queue: multiprocessing.Queue[bytes] = multiprocessing.get_context("fork").Queue(CAPACITY)

    def sender(self) -> Send:
        return self.queue.put

    def receiver(self) -> Receive:
        return self.queue.get


class PosixQueue:
    """As deep as this user may make it."""

    def __init__(self, name: str, directory: str, prefix: str) -> None:
        import posix_ipc

        path = f"/{prefix}{name}"
        flags = posix_ipc.O_CREX
        try:
            self.queue = posix_ipc.MessageQueue(path, flags, max_messages=CAPACITY, max_message_size=LENGTH)
        except ValueError:
            self.queue = posix_ipc.MessageQueue(path, flags, max_messages=10, max_message_size=LENGTH)
        self.queue.unlink()

    def sender(self) -> Send:
        return self.queue.send

    def receiver(self) -> Receive:
        return self.queue.receive


class Zmq:
    """PUSH and PULL."""

    def __init__(self, name: str, directory: str, prefix: str) -> None:
        import zmq  # noqa: F401

        self.address = f"ipc://{directory}/{name}"

    def sender(self) -> Send:
        import zmq

        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUSH)
        self.socket.connect(self.address)
        return self.socket.send

    def receiver(self) -> Receive:
        import zmq

        context = zmq.Context()
        socket = context.socket(zmq.PULL)
        socket.bind(self.address)
        return socket.recv


class Iceoryx:
    """Publish and subscribe without overflow; the receiver spins."""

    def __init__(self, name: str, directory: str, prefix: str) -> None:
        import iceoryx2

        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        self.config = iceoryx2.config.default()
        self.config.global_cfg.prefix = iceoryx2.FileName.new(prefix)
        self.config.global_cfg.root_path = iceoryx2.Path.new(directory)
        self.name = name

    def topic(self) -> Any:
        import ctypes

        import iceoryx2

        node = iceoryx2.NodeBuilder.new().config(self.config).create(iceoryx2.ServiceType.Ipc)
        builder = node.service_builder(iceoryx2.ServiceName.new(self.name)).publish_subscribe(ctypes.c_char * LENGTH)
        return builder.enable_safe_overflow(False).subscriber_max_buffer_size(CAPACITY).open_or_create()

    def sender(self) -> Send:
        import ctypes

        import iceoryx2

        strategy = iceoryx2.BackpressureStrategy.RetryUntilDelivered
        publisher = self.topic().publisher_builder().backpressure_strategy(strategy).create()
        payload = ctypes.c_char * LENGTH

        def send(message: bytes) -> None:
            # A full subscriber is now and then passed over, whatever the strategy.
            while not publisher.loan_uninit().write_payload(payload.from_buffer_copy(message)).send():
                pass

        return send

    def receiver(self) -> Receive:
        subscriber = self.topic().subscriber_builder().create()

        def receive() -> bytes:
            while (sample := subscriber.receive()) is None:
                pass
            message: bytes = sample.payload().contents.raw
            sample.delete()
            return message

        return receive
