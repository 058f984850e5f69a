"""One stream of devices from the plugin, many watchers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from topology_agent.device_plugin.feed import DeviceFeed


class Devices:
    """A plugin's stream, which says what the test lets it say; None ends it."""

    def __init__(self) -> None:
        self.say: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (answer := await self.say.get()) is not None:
            yield answer


async def test_whoever_comes_late_is_told_the_latest_and_then_every_change() -> None:
    feed, devices = DeviceFeed(), Devices()
    following = asyncio.create_task(feed.follow(devices))
    async with aclosing(feed.watch()) as early:
        devices.say.put_nowait(b"1")
        devices.say.put_nowait(b"2")
        assert [await anext(early), await anext(early)] == [b"1", b"2"]
        async with aclosing(feed.watch()) as late:
            assert await anext(late) == b"2"
            devices.say.put_nowait(b"3")
            assert [await anext(early), await anext(late)] == [b"3", b"3"]
    following.cancel()


async def test_it_is_watched_until_the_last_watcher_leaves() -> None:
    feed, devices = DeviceFeed(), Devices()
    following = asyncio.create_task(feed.follow(devices))
    devices.say.put_nowait(b"1")
    assert not feed.watched
    async with aclosing(feed.watch()) as watching:
        assert await anext(watching) == b"1"
        assert feed.watched
    assert not feed.watched
    following.cancel()


async def test_the_end_of_the_plugin_is_the_end_for_all_also_for_those_who_come_later() -> None:
    feed, devices = DeviceFeed(), Devices()
    following = asyncio.create_task(feed.follow(devices))
    devices.say.put_nowait(b"1")
    async with aclosing(feed.watch()) as watching:
        assert await anext(watching) == b"1"
        devices.say.put_nowait(None)
        assert [answer async for answer in watching] == []
    await following
    assert [answer async for answer in feed.watch()] == []
