"""Items as messages: large buffers first, each as it lies in memory, and then the pickle that refers to them.

A message begins with the number of buffers, and the length of each.
"""

import pickle
import struct
from multiprocessing.reduction import ForkingPickler
from typing import Any

COUNT = struct.Struct("<Q")
BESIDE = 4096
"""Buffers of so many bytes go beside the pickle; to copy a shorter one into it costs less."""


class Chunks(list[bytes]):
    """What pickle writes, without copying what is long."""

    def write(self, chunk: bytes) -> None:
        # Other kinds of buffers are pickle's own again when this returns.
        self.append(chunk if type(chunk) is bytes else bytes(chunk))


def pack(item: object) -> list[bytes | memoryview]:
    """The parts of the message that lie behind each other.

    Raises what pickle raises.
    """
    buffers: list[memoryview] = []

    def put_into_pickle(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # its bytes do not lie side by side
            return True
        if raw.nbytes < BESIDE:
            return True
        buffers.append(raw)
        return False

    pickled = Chunks()
    ForkingPickler(pickled, 5, True, put_into_pickle).dump(item)
    head = struct.pack(f"<Q{len(buffers)}Q", len(buffers), *(buffer.nbytes for buffer in buffers))
    return [head, *buffers, *pickled]


def unpack(message: bytes | memoryview) -> Any:
    """The item. It has memory of its own, which can be written to as that of the one that was sent.

    Raises what pickle raises.
    """
    view = memoryview(message)
    (count,) = COUNT.unpack_from(view)
    end = COUNT.size * (1 + count)
    buffers = []
    for (length,) in COUNT.iter_unpack(view[COUNT.size : end]):
        buffers.append(bytearray(view[end : end + length]))
        end += length
    return pickle.loads(view[end:], buffers=buffers)


def can_be_unpacked(message: bytes) -> bool:
    """Whether it was not the item's fault that unpack() raised: a signal handler may have.

    Raises KeyboardInterrupt, which nobody blames on an item.
    """
    try:
        unpack(message)
    except KeyboardInterrupt:
        raise
    except BaseException:  # SystemExit, for example
        return False
    return True
