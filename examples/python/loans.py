"""NumPy arrays as messages, without a copy: the sender writes them where the receiver reads them."""

import multiprocessing
import os

import numpy as np
import rsipc

PIXELS = 1_000_000


def add_up(frames: rsipc.Queue, sums: rsipc.Queue) -> None:
    while True:
        try:
            view = frames.recv_view()
        except rsipc.Closed:
            return
        with view:  # given back at the end of this block, once no array of it is in use
            sums.send(str(int(np.frombuffer(memoryview(view), dtype=np.float64).sum())).encode())


def main() -> None:
    frames_name, sums_name = f"frames-{os.getpid()}", f"sums-{os.getpid()}"
    # Two wait, one is filled, and one is read.
    with (
        rsipc.Queue.create(frames_name, capacity=2, max_message=8 * PIXELS, leases=2) as frames,
        rsipc.Queue.create(sums_name) as sums,
    ):
        receiver = multiprocessing.get_context("spawn").Process(target=add_up, args=(frames, sums))
        receiver.start()
        for number in (1, 2, 3):
            with frames.loan(8 * PIXELS) as loan:  # waits while all memory is in use
                pixels = np.frombuffer(memoryview(loan), dtype=np.float64)
                pixels[:] = number
                del pixels  # nobody can change what was sent
                loan.send()
        frames.shutdown()
        print("the sums are", ", ".join(sums.recv(timeout=60).decode() for _ in range(3)))
        receiver.join()
    rsipc.unlink(frames_name)
    rsipc.unlink(sums_name)


if __name__ == "__main__":
    main()
