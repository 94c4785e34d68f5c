import gc
import mmap
import os
import socket
import struct
from typing import Any

import numpy as np
import pytest
import rsipc
from processes import run


def test_bytes_are_shared() -> None:
    region = rsipc.Region.create("r", 10_000)
    assert len(region) == 10_000
    assert bytes(region) == bytes(10_000)
    memory = memoryview(region)
    assert (memory.format, memory.readonly, memory.c_contiguous, memory.nbytes) == ("B", False, True, 10_000)
    memory[5000:5005] = b"hello"
    struct.pack_into("<Q", region, 8, 42)
    text = """
        import struct
        region = rsipc.Region.open('r')
        memory = memoryview(region)
        assert memory[5000:5005] == b'hello' and struct.unpack_from('<Q', region, 8) == (42,)
        memory[0] = 7
    """
    run(text)
    assert memory[0] == 7
    assert rsipc.Region.open_or_create("r", 5).name == "r"


def test_growing() -> None:
    region = rsipc.Region.create("r", 10)
    before = memoryview(region)
    before[:3] = b"old"
    run("rsipc.Region.open('r').grow(1_000_000)")
    assert len(region) == 1_000_000
    after = memoryview(region)
    after[999_999] = 1
    after[0] = ord("O")
    assert bytes(before[:3]) == bytes(after[:3]) == b"Old"
    assert len(before) == 10
    region.grow(1_000_000)
    for size in (0, 999_999, -1, 1 << 63, 1 << 70):
        with pytest.raises(rsipc.InvalidArgument):
            region.grow(size)


@pytest.mark.parametrize("size", [0, -1, 1 << 63, (1 << 64) - 1, 1 << 64])
def test_impossible_sizes(size: int) -> None:
    with pytest.raises(rsipc.InvalidArgument):
        rsipc.Region.create("r", size)
    with pytest.raises(rsipc.InvalidArgument):
        rsipc.Region.anonymous(size)


def test_an_anonymous_region_travels_by_its_descriptor() -> None:
    region = rsipc.Region.anonymous(4096)
    assert region.name is None
    memoryview(region)[:5] = b"hello"
    again = rsipc.Region.from_fd(region.fileno())
    assert again.fileno() != region.fileno()
    assert bytes(memoryview(again)[:5]) == b"hello"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if os.fork() == 0:
            try:
                _, [fd], _, _ = socket.recv_fds(theirs, 1, 1)
                memoryview(rsipc.Region.from_fd(fd))[0] = ord("J")
            finally:
                os._exit(0)
        socket.send_fds(ours, [b"x"], [region.fileno()])
        os.wait()
    assert bytes(memoryview(again)[:5]) == b"Jello"


def test_descriptors_that_are_none() -> None:
    with pytest.raises(rsipc.InvalidArgument):
        rsipc.Region.from_fd(-1)
    with pytest.raises(rsipc.OsError) as error:
        rsipc.Region.from_fd(1_000_000)
    assert isinstance(error.value, OSError)
    assert error.value.errno == 9
    with open("/dev/null") as null, pytest.raises(rsipc.Corrupted):
        rsipc.Region.from_fd(null.fileno())
    fd = os.memfd_create("short")
    with pytest.raises(rsipc.Error):
        rsipc.Region.from_fd(fd)
    os.ftruncate(fd, 1 << 16)
    with pytest.raises(rsipc.Error):
        rsipc.Region.from_fd(fd)
    os.close(fd)


def test_closing_while_there_are_views() -> None:
    region = rsipc.Region.create("r", 100)
    memory = memoryview(region)
    region.close()
    region.close()
    memory[99] = 1
    del region
    gc.collect()
    assert memory[99] == 1
    memory.release()
    region = rsipc.Region.open("r")
    assert memoryview(region)[99] == 1


def mappings_of(name: str) -> int:
    with open("/proc/self/maps") as maps:
        return sum(line.rstrip().endswith("/" + name) for line in maps)


def test_numpy_keeps_the_memory_mapped() -> None:
    rsipc.Region.create("r", 800)
    # For type checkers not all that has the buffer protocol is a buffer to numpy.
    region: Any = rsipc.Region.open("r")
    numbers: np.ndarray[tuple[int], np.dtype[np.int64]] = np.ndarray((100,), dtype=np.int64, buffer=region)
    others = np.frombuffer(region, dtype=np.int64)
    numbers[:] = range(100)
    region.grow(1 << 20)
    more = np.frombuffer(region, dtype=np.uint8)
    more[-1] = 9
    region.close()
    assert mappings_of("r") > 0
    numbers += 1
    assert others.sum() == sum(range(101))
    assert more[-1] == 9
    del region
    gc.collect()
    numbers += 1
    assert others[0] == 2
    del numbers, others, more
    gc.collect()
    assert mappings_of("r") == 0


def test_a_closed_handle() -> None:
    rsipc.Region.create("r", 10)
    with rsipc.Region.open("r") as region:
        assert len(region) == 10
        assert mappings_of("r") > 0
    assert mappings_of("r") == 0
    for call in (
        lambda: len(region),
        lambda: memoryview(region),
        lambda: bytes(region),
        lambda: np.frombuffer(memoryview(region), np.uint8),
        region.fileno,
        lambda: region.grow(20),
        region.__enter__,
        lambda: rsipc.Mutex.create_in(region, 0),
    ):
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            call()


def test_memory_begins_at_a_page() -> None:
    array = np.frombuffer(memoryview(rsipc.Region.anonymous(1)), np.uint8)
    assert array.ctypes.data % mmap.PAGESIZE == 0
