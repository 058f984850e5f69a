"""The queue of names that are due."""

import asyncio

from topology_agent.workqueue import WorkQueue


async def test_a_name_stands_in_the_queue_once() -> None:
    queue = WorkQueue()
    for name in ("a", "b", "a"):
        queue.add(name)
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    assert not await is_ready(queue)


async def test_a_name_added_while_somebody_has_it_waits_until_that_one_is_done() -> None:
    queue = WorkQueue()
    queue.add("a")
    await queue.take()
    queue.add("a")
    assert not await is_ready(queue)
    queue.done("a")
    assert await queue.take() == "a"


async def is_ready(queue: WorkQueue) -> bool:
    taking = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    ready = taking.done()
    taking.cancel()
    return ready
