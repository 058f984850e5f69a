"""What a reflector knows of its watch: how often it began again and why, and for how long nothing was heard."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from kubernetes_api import Reflector, Resource, Restart
from tests.kubernetes_api.test_cluster import Mirror

SOON = 10.0
BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}


class Quiet:
    """An API server without objects, whose watches say and do what a test lets them.

    Attributes:
        said: what a watch is to say next; None ends it as agreed.
        watches: how many were begun.
    """

    def __init__(self) -> None:
        self.said: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.watches = 0
        self.heard = asyncio.Condition()

    async def pages(self, _resource: Resource, **_: str) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        yield [], "1"

    async def watch(self, _resource: Resource, _version: str, **_: str) -> AsyncIterator[dict[str, Any]]:
        self.watches += 1
        while True:
            async with self.heard:
                self.heard.notify_all()
            event = await self.said.get()
            if event is None:
                return
            yield event

    async def says(self, event: dict[str, Any] | None, watches: int) -> None:
        """Say something and wait until it was heard, and so many watches were begun."""
        async with asyncio.timeout(SOON), self.heard:
            self.said.put_nowait(event)
            await self.heard.wait_for(lambda: self.said.empty() and self.watches == watches)


async def test_a_bookmark_and_an_end_as_agreed_break_the_silence() -> None:
    """Before the first list nothing has been heard at all."""
    server: Any = Quiet()
    now = 0.0
    reflector = Reflector(server, Resource.PODS, Mirror(), clock=lambda: now)
    assert reflector.silent_seconds() is None
    task = asyncio.create_task(reflector.run())
    async with asyncio.timeout(SOON), server.heard:
        await server.heard.wait_for(lambda: server.watches == 1)
    now = 100.0
    assert reflector.silent_seconds() == 100
    await server.says(BOOKMARK, watches=1)
    assert reflector.silent_seconds() == 0
    assert reflector.restarts.total() == 0
    now = 280.0
    await server.says(None, watches=2)
    assert reflector.silent_seconds() == 0
    assert reflector.restarts == {Restart.ENDED: 1}
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
