"""Work that is not lost with a worker: messages on lease.

A worker is killed in the middle of a job. The job goes back to the front of the queue, and another worker does it.
"""

import multiprocessing
import os
import signal

import rsipc


def work(jobs: rsipc.Queue, results: rsipc.Queue) -> None:
    while True:
        try:
            lease = jobs.lease()
        except rsipc.Closed:
            return
        with lease:  # finished at the end of this block, given back if it raises
            if lease.message == b"fragile" and lease.deliveries == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            results.send(f"{lease.message.decode()}: done at delivery {lease.deliveries}".encode())


def main() -> None:
    jobs_name, results_name = f"jobs-{os.getpid()}", f"results-{os.getpid()}"
    with rsipc.Queue.create(jobs_name, capacity=None) as jobs, rsipc.Queue.create(results_name) as results:
        for job in (b"robust", b"fragile", b"sturdy"):
            jobs.send(job)
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=work, args=(jobs, results)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for line in sorted(results.recv(timeout=60).decode() for _ in range(3)):
            print(line)
        jobs.shutdown()
        for worker in workers:
            worker.join()
        print(sum(worker.exitcode == -signal.SIGKILL for worker in workers), "worker was killed")
    rsipc.unlink(jobs_name)
    rsipc.unlink(results_name)


if __name__ == "__main__":
    main()
