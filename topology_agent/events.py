"""Tells people of what happened to the node's GPUs: in the log, and as events of the node."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from tenacity.wait import wait_base

from kubernetes_api import NodeEvent
from kubernetes_api.events import PAUSE, EventApi, send_event

BURST: Final = 10
"""Events in a row. More than that in a short time says no more than the first, and presses the API server."""
SECONDS_PER_EVENT: Final = 60.0
"""After how long one more event may be sent."""
MOST_WAITING: Final = BURST
"""Events that wait while the API server is away."""

_log = structlog.get_logger(__name__)


class EventRecorder:
    """Records events of one node: each in the log, and on the node unless there are too many at once."""

    def __init__(
        self,
        api: EventApi,
        node: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: wait_base = PAUSE,
    ) -> None:
        self._api = api
        self._node = node
        self._clock = clock
        self._pause = pause
        self._allowance = float(BURST)
        self._counted_at = clock()
        self._waiting: asyncio.Queue[NodeEvent] = asyncio.Queue(MOST_WAITING)

    def record(self, event: NodeEvent) -> None:
        """Log an event, and let `run` send it."""
        is_sent = self._may_send() and not self._waiting.full()
        log = _log.warning if event.is_warning else _log.info
        log(event.note, node=self._node, reason=event.reason, is_sent=is_sent)
        if is_sent:
            self._waiting.put_nowait(event)

    async def run(self) -> None:
        """Send what is recorded, one after the other, until cancelled."""
        while True:
            await send_event(self._api, self._node, await self._waiting.get(), pause=self._pause)

    def _may_send(self) -> bool:
        """Whether an event fits into the rate: a bucket that fills by one every `SECONDS_PER_EVENT`, up to `BURST`."""
        now = self._clock()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) / SECONDS_PER_EVENT)
        self._counted_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True
