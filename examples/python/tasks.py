"""Queues in tasks of asyncio: a hundred tasks share one process, and its jobs with another process."""

import asyncio
import multiprocessing
import os

import rsipc


def produce(jobs: rsipc.Queue) -> None:
    for number in range(1000):
        jobs.send(str(number).encode())
    jobs.shutdown()


async def main() -> None:
    name = f"jobs-{os.getpid()}"
    total = 0

    async def work(jobs: rsipc.Queue) -> None:
        nonlocal total
        async for job in jobs:  # until the queue is shut down and empty
            await asyncio.sleep(0.001)
            total += int(job)

    with rsipc.Queue.create(name) as jobs:
        producer = multiprocessing.get_context("spawn").Process(target=produce, args=(jobs,))
        producer.start()
        await asyncio.gather(*(work(jobs) for _ in range(100)))
        await asyncio.to_thread(producer.join)
    rsipc.unlink(name)
    print("the sum of all jobs is", total)


if __name__ == "__main__":
    asyncio.run(main())
