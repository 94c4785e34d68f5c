"""A NumPy array in shared memory: another process works on the same numbers."""

import multiprocessing
import os

import numpy as np
import rsipc


def double(region: rsipc.Region) -> None:
    numbers = np.frombuffer(memoryview(region), dtype=np.float64)
    numbers *= 2


def main() -> None:
    name = f"numbers-{os.getpid()}"
    region = rsipc.Region.create(name, 8 * 1000)
    numbers = np.frombuffer(memoryview(region), dtype=np.float64)
    numbers[:] = np.arange(1000)
    child = multiprocessing.get_context("spawn").Process(target=double, args=(region,))
    child.start()
    child.join()
    print(f"the sum is {numbers.sum():.0f}")
    rsipc.unlink(name)


if __name__ == "__main__":
    main()
