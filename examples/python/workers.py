"""Jobs for workers: a queue that any process opens by its name.

A worker that is killed takes the job with it that it has received, and no other. (See leases.py for work that comes back.)
"""

import multiprocessing
import os

import rsipc


def work(jobs: rsipc.Queue, results: rsipc.Queue) -> None:
    for job in jobs:  # until the queue is shut down and empty
        number = int(job)
        results.send(f"{number} squared is {number * number}".encode())


def main() -> None:
    jobs_name, results_name = f"jobs-{os.getpid()}", f"results-{os.getpid()}"
    with rsipc.Queue.create(jobs_name) as jobs, rsipc.Queue.create(results_name) as results:
        # A handle that is sent to another process opens the queue there by its name.
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=work, args=(jobs, results)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for number in range(10):
            jobs.send(str(number).encode())
        for line in sorted(results.recv(timeout=60).decode() for _ in range(10)):
            print(line)
        jobs.shutdown()
        for worker in workers:
            worker.join()
    rsipc.unlink(jobs_name)
    rsipc.unlink(results_name)


if __name__ == "__main__":
    main()
