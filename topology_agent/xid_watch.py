"""Waits for XID errors beside everything else, and again after the driver was away."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeAlias

import structlog

from gpu_topology.errors import SourceError
from topology_agent.xids import XidEvent

XidSource: TypeAlias = Callable[[Callable[[XidEvent], None], threading.Event], None]
"""Tells of every XID error until told to stop, as `topology_agent.sources.nvml.watch_xids` does; raises `SourceError`
when the driver does not answer."""

_log = structlog.get_logger(__name__)


async def follow_xids(source: XidSource, tell: Callable[[XidEvent], None], retry_seconds: float) -> None:
    """Let `tell` know of every XID error, until cancelled or until the source has nothing more to tell.

    The waiting itself is done in a thread, as NVML has no other way.
    """
    failure: str | None = None
    while True:
        try:
            await _watch(source, tell)
        except SourceError as error:
            if str(error) != failure:
                _log.warning("XID errors cannot be seen, trying again", error=str(error))
            failure = str(error)
        else:
            _log.info("no GPU here reports XID errors")
            return
        await asyncio.sleep(retry_seconds)


async def _watch(source: XidSource, tell: Callable[[XidEvent], None]) -> None:
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def tell_the_loop(event: XidEvent) -> None:
        loop.call_soon_threadsafe(tell, event)

    try:
        await asyncio.to_thread(source, tell_the_loop, stop)
    finally:
        stop.set()
