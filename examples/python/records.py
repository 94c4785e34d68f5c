"""Structures as messages, many at a time: NumPy reads them as one array."""

import multiprocessing
import os

import numpy as np
import rsipc

SAMPLE = np.dtype([("sensor", np.uint32), ("number", np.uint32), ("celsius", np.float64)])


def measure(samples: rsipc.Queue) -> None:
    measured = np.zeros(1000, dtype=SAMPLE)
    measured["number"] = np.arange(1000)
    measured["celsius"] = 20 + measured["number"] / 1000
    samples.send_many(measured)
    samples.shutdown()


def main() -> None:
    name = f"samples-{os.getpid()}"
    samples = rsipc.Queue.create(name, max_message=SAMPLE.itemsize)
    sensor = multiprocessing.get_context("spawn").Process(target=measure, args=(samples,))
    sensor.start()
    received = []
    while True:
        try:
            received += samples.recv_many(64, timeout=60)
        except rsipc.Closed:
            break
    sensor.join()
    array = np.frombuffer(b"".join(received), dtype=SAMPLE)
    print(f"{len(array)} samples, {array['celsius'].mean():.4f} degrees on average")
    rsipc.unlink(name)


if __name__ == "__main__":
    main()
