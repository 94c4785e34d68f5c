"""multiprocessing's queues and locks, by rsipc: a worker is killed in the middle of its work, and the others carry on.

With `import multiprocessing as mp` instead, this program would wait for ever: for the lock that the dead worker holds, and
for its job.
"""

import os
import signal

from rsipc import mp


def work(jobs: mp.JoinableQueue[int], results: mp.SimpleQueue[int], lock: mp.Lock, deadly: int) -> None:
    while True:
        number = jobs.get()
        with lock:
            if lock.owner_died:
                print("whoever had the lock before was killed", flush=True)
            if number == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
            results.put(number * number)
        jobs.task_done()


def main() -> None:
    jobs: mp.JoinableQueue[int] = mp.JoinableQueue()
    results: mp.SimpleQueue[int] = mp.SimpleQueue()
    lock = mp.Lock()
    for number in range(10):
        jobs.put(number)
    context = mp.get_context("spawn")

    # This one takes job 3 to its grave, and the lock.
    victim = context.Process(target=work, args=(jobs, results, lock, 3))
    victim.start()
    victim.join()

    # This one gets job 3 once more, and all the others.
    worker = context.Process(target=work, args=(jobs, results, lock, -1), daemon=True)
    worker.start()
    jobs.join()
    print("the squares are", sorted(results.get() for _ in range(10)))


if __name__ == "__main__":
    main()
