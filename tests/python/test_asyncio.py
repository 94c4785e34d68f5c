"""Waiting in tasks of asyncio."""

import asyncio
import os
import random
import threading

import pytest
import rsipc
from processes import BOUND, Program


async def soon(seconds: float = 0.02) -> None:
    """Lets the other tasks come to their waits."""
    await asyncio.sleep(seconds)


def test_a_message_wakes_a_task() -> None:
    queue = rsipc.Queue.create("q")

    async def main() -> None:
        receiver = asyncio.create_task(queue.recv_async())
        await soon()
        assert not receiver.done()
        with Program("rsipc.Queue.open('q').send(b'hello')") as sender:
            assert await asyncio.wait_for(receiver, BOUND) == b"hello"
            sender.succeeds()
        queue.send(b"there already")
        assert await queue.recv_async() == b"there already"

    asyncio.run(main())


@pytest.mark.parametrize("capacity", [0, 8, None], ids=["zero", "some", "unbounded"])
def test_iterating_ends_with_the_shutdown(capacity: int | None) -> None:
    queue = rsipc.Queue.create("q", capacity)
    text = """
        queue = rsipc.Queue.open('q')
        for number in range(1000):
            queue.send(str(number).encode())
        queue.shutdown()
    """

    async def main() -> list[bytes]:
        return [message async for message in queue]

    with Program(text) as sender:
        assert asyncio.run(main()) == [str(number).encode() for number in range(1000)]
        sender.succeeds()
        with pytest.raises(rsipc.Closed):
            asyncio.run(queue.recv_async())


def test_many_tasks_on_one_queue() -> None:
    queue = rsipc.Queue.create("q")
    text = """
        queue = rsipc.Queue.open('q')
        for number in range(20_000):
            queue.send(number.to_bytes(4, 'little'))
        queue.shutdown()
    """

    async def receive(seen: list[int]) -> None:
        async for message in queue:
            seen.append(int.from_bytes(message, "little"))
            await asyncio.sleep(0)

    async def main() -> list[int]:
        seen: list[int] = []
        await asyncio.gather(*(receive(seen) for _ in range(100)))
        return seen

    with Program(text) as sender:
        assert sorted(asyncio.run(main())) == list(range(20_000))
        sender.succeeds()


def test_cancelled_tasks_lose_no_message() -> None:
    queue = rsipc.Queue.create("q")
    text = """
        queue = rsipc.Queue.open('q')
        for number in range(5000):
            queue.send(number.to_bytes(4, 'little'))
            if number % 10 == 0:
                time.sleep(0.0001)
        queue.shutdown()
    """

    async def main() -> list[int]:
        seen: list[int] = []
        chance = random.Random(1)

        async def receive() -> None:
            async for message in queue:
                seen.append(int.from_bytes(message, "little"))
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(receive()) for _ in range(10)]
        while not queue.is_shut_down:
            victim = chance.randrange(len(tasks))
            tasks[victim].cancel()
            tasks[victim] = asyncio.create_task(receive())
            await asyncio.sleep(chance.random() / 2000)
        await asyncio.gather(*tasks)
        return seen

    with Program(text) as sender:
        assert sorted(asyncio.run(main())) == list(range(5000))
        sender.succeeds()


def test_the_turn_of_a_task_that_is_cancelled_goes_to_the_next() -> None:
    queue = rsipc.Queue.create("q")

    async def main() -> None:
        first, second = asyncio.create_task(queue.recv_async()), asyncio.create_task(queue.recv_async())
        await soon()
        queue.send(b"1")
        # It was woken, and is cancelled before it goes on.
        while not any(waiter.done() for waiters in waiting().values() for waiter in waiters):
            await asyncio.sleep(0)
            assert not first.done()
        first.cancel()
        assert await asyncio.wait_for(second, BOUND) == b"1"
        with pytest.raises(asyncio.CancelledError):
            await first
        assert waiting() == {}

    asyncio.run(main())


def waiting() -> dict[int, dict[asyncio.Future[None], None]]:
    from rsipc import _tasks

    return _tasks._waiting[asyncio.get_running_loop()]


def test_a_timeout() -> None:
    queue = rsipc.Queue.create("q")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.recv_async(), 0.02)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await queue.recv_async()
        queue.send(b"1")
        assert await queue.recv_async() == b"1"

    asyncio.run(main())


def test_sending_waits_for_room() -> None:
    queue = rsipc.Queue.create("q", capacity=2)

    async def main() -> None:
        senders = [asyncio.create_task(queue.send_async(str(number).encode())) for number in range(50)]
        await soon()
        assert sum(sender.done() for sender in senders) == 2
        senders[30].cancel()
        with Program("print(sum(int(message) for message in rsipc.Queue.open('q')))") as receiver:
            await asyncio.gather(*senders[:30], *senders[31:])
            queue.shutdown()
            assert int(receiver.succeeds()) == sum(range(50)) - 30
        with pytest.raises(rsipc.Closed):
            await queue.send_async(b"more")

    asyncio.run(main())


def test_a_shutdown_wakes_senders() -> None:
    queue = rsipc.Queue.create("q", capacity=1)
    queue.send(b"1")

    async def main() -> None:
        sender = asyncio.create_task(queue.send_async(b"2"))
        await soon()
        with Program("rsipc.Queue.open('q').shutdown()") as other:
            with pytest.raises(rsipc.Closed):
                await asyncio.wait_for(sender, BOUND)
            other.succeeds()

    asyncio.run(main())


def test_a_rendezvous_cannot_be_sent_to_in_a_task() -> None:
    queue = rsipc.Queue.create("q", capacity=0)

    async def main() -> None:
        with pytest.raises(rsipc.Unsupported, match="to_thread"):
            await queue.send_async(b"1")
        sender = asyncio.create_task(asyncio.to_thread(queue.send, b"1", BOUND))
        assert await queue.recv_async() == b"1"
        await sender

    asyncio.run(main())


@pytest.mark.parametrize("create", [rsipc.Semaphore.create, rsipc.Semaphore.create_permits])
def test_semaphores(create: type[rsipc.Semaphore]) -> None:
    semaphore = create("s", 3)  # type: ignore[call-arg]
    most = now = 0

    async def work() -> None:
        nonlocal most, now
        await semaphore.acquire_async()
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        semaphore.release()

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(50)))

    asyncio.run(main())
    assert most == 3
    assert semaphore.value == 3


def test_permits_of_the_dead_wake_a_task() -> None:
    semaphore = rsipc.Semaphore.create_permits("p", 1)

    async def main() -> None:
        with Program("rsipc.Semaphore.open('p').acquire(); print('has', flush=True); time.sleep(1000)") as holder:
            holder.is_at("has")
            task = asyncio.create_task(semaphore.acquire_async())
            await soon()
            assert not task.done()
            holder.kill()
            await asyncio.wait_for(task, BOUND)

    asyncio.run(main())


def test_endpoints() -> None:
    endpoint = rsipc.Endpoint.open("squares")
    text = """
        mine = rsipc.Endpoint.open()
        print(mine.call(mine.find('squares'), b'7', 60).decode())
    """

    async def main() -> None:
        with Program(text) as client:
            request = await endpoint.recv_async()
            request.reply(str(int(request.data) ** 2).encode())
            assert client.succeeds() == "49\n"

    asyncio.run(main())


def test_a_task_goes_on_when_the_handle_is_closed() -> None:
    queue, other = rsipc.Queue.create("q"), rsipc.Queue.open("q")

    async def main() -> None:
        task = asyncio.create_task(queue.recv_async())
        await soon()
        queue.close()
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            await queue.recv_async()
        with pytest.raises(rsipc.InvalidArgument, match="closed"):
            async for _ in queue:
                pass
        other.send(b"1")
        assert await asyncio.wait_for(task, BOUND) == b"1"

    asyncio.run(main())


def test_one_event_loop_after_the_other_and_beside_it() -> None:
    queue = rsipc.Queue.create("q", None)

    async def cut_short() -> None:
        asyncio.create_task(queue.recv_async())  # noqa: RUF006
        await soon()

    async def main(count: int) -> int:
        return sum([len(await queue.recv_async()) for _ in range(count)])

    asyncio.run(cut_short())
    queue.send(b"123")
    assert asyncio.run(main(1)) == 3
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(main(500)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        queue.send(b"x")
    for thread in threads:
        thread.join(BOUND)
    assert results == [500] * 4


def test_a_million_messages_start_one_thread() -> None:
    queue = rsipc.Queue.create("q", 1000, 8)
    text = """
        queue = rsipc.Queue.open('q')
        for number in range(100_000):
            queue.send(number.to_bytes(4, 'little'))
        queue.shutdown()
    """

    async def main() -> int:
        expected = 0
        async for message in queue:
            assert message == expected.to_bytes(4, "little")
            expected += 1
            if expected % 10_000 == 0:
                assert len(os.listdir("/proc/self/task")) <= before + 1
                await asyncio.sleep(0)
        return expected

    before = len(os.listdir("/proc/self/task"))
    with Program(text) as sender:
        assert asyncio.run(main()) == 100_000
        sender.succeeds()
