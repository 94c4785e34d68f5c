"""Prints what comes out of a queue, in a task beside which others run."""

import asyncio
import sys

import rsipc


async def show(name: str) -> None:
    with rsipc.Queue.open(name) as queue:
        async for text in queue:
            print(text.decode())


asyncio.run(show(sys.argv[1]))
