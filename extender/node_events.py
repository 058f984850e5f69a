"""Events about nodes and pods, written in the background: no verb ever waits for the API server."""

import asyncio
from typing import Final

import structlog
from tenacity.wait import wait_base

from kubernetes_api import NodeEvent, PodReference
from kubernetes_api.events import PAUSE, EventApi, send_event

MOST_WAITING: Final = 100
"""Events that wait while the API server is away; what does not fit in is in the log alone."""

_log = structlog.get_logger("extender")


class NodeEvents:
    """A queue of events about nodes and pods."""

    def __init__(self, api: EventApi, *, pause: wait_base = PAUSE) -> None:
        self._api = api
        self._pause = pause
        self._waiting: asyncio.Queue[tuple[str | PodReference, NodeEvent]] = asyncio.Queue(MOST_WAITING)

    def tell(self, about: str | PodReference, event: NodeEvent) -> None:
        """Let `run` write an event; returns at once."""
        if self._waiting.full():
            _log.warning("the event is given up", about=str(about), reason=event.reason, error="too many events wait")
        else:
            self._waiting.put_nowait((about, event))

    async def run(self) -> None:
        """Write what is told, one after the other, until cancelled."""
        while True:
            about, event = await self._waiting.get()
            await send_event(self._api, about, event, pause=self._pause)
