"""Memory that two processes share, by name and by descriptor, with no copy in between."""

import os
import struct

import rsipc


def main() -> None:
    name = f"table-{os.getpid()}"
    with rsipc.Region.create(name, 1 << 16) as region:
        memory = memoryview(region)
        memory[:5] = b"hello"
        struct.pack_into("<I", region, 8, 42)

        if (child := os.fork()) == 0:
            # Any other process does the same with the name.
            with rsipc.Region.open(name) as mine:
                text, number = bytes(memoryview(mine)[:5]), *struct.unpack_from("<I", mine, 8)
                print(f"the child reads {text.decode()!r} and {number}", flush=True)
                mine.grow(1 << 20)
                struct.pack_into("<I", mine, (1 << 20) - 4, number + 1)
            os._exit(0)
        os.waitpid(child, 0)

        (answer,) = struct.unpack_from("<I", region, len(region) - 4)
        print(f"the region has {len(region)} bytes now, and {answer} at its end")
    rsipc.unlink(name)

    anonymous = rsipc.Region.anonymous(4096)
    again = rsipc.Region.from_fd(anonymous.fileno())
    memoryview(again)[0] = 1
    print(f"through the other handle: {memoryview(anonymous)[0]}")


if __name__ == "__main__":
    main()
