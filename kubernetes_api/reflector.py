"""Keeps somebody up to date with all objects of one resource: list, watch, resume, and list again when lost."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from enum import StrEnum
from typing import Any, Final, Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from kubernetes_api.cluster import Cluster, Resource
from kubernetes_api.errors import ApiError, ExpiredError

ABSENT_SECONDS: Final = 600.0
"""After how long a resource is looked for again that the API server does not have: it comes with an upgrade."""
LONGEST_PAUSE_SECONDS: Final = 15.0
"""Between two tries while the API server is away: soon enough to be back, seldom enough not to press it."""

_ABSENT: Final = frozenset({403, 404})

_log = structlog.get_logger(__name__)


Trim = Callable[[dict[str, Any]], dict[str, Any]]
"""Makes an object of a list smaller: keeps what the handler reads."""


def _untrimmed(obj: dict[str, Any]) -> dict[str, Any]:
    return obj


class Restart(StrEnum):
    """Why a watch was begun again."""

    ENDED = "ended"
    """The API server ended it after the time agreed: every few minutes, and a good sign."""
    BROKEN = "broken"
    """The connection broke after it had worked."""
    EXPIRED = "expired"
    """The API server no longer keeps the last version that was seen, so that everything is listed again."""
    FAILED = "failed"
    """The API server did not serve a list, or did not serve the watch at all."""


class Handler(Protocol):
    """Whoever wants to know. Called in the order of the changes, never twice at the same time."""

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the objects that exist: what is not among them is gone."""

    def changed(self, obj: dict[str, Any]) -> None:
        """An object was added or modified."""

    def deleted(self, obj: dict[str, Any]) -> None:
        """An object is gone; this is its last state."""


class Reflector:
    """Tells a handler of every object of a resource, and of every change from then on.

    A watch that ends or breaks is resumed from the last resource version seen, so that nothing is missed and nothing
    is listed again; when the API server no longer keeps that version, everything is listed anew.

    Attributes:
        synced: whether the first list has been handed over.
        lists: how often everything was listed.
        restarts: how often a watch was begun again, by reason.

    Args:
        cluster: the API server.
        resource: what to follow.
        handler: who wants to know.
        field_selector: which of the objects.
        trim: what is kept of each object of a list. They are all in memory at once; those of a watch come one by one
            and are handed over whole.
        is_optional: where the API server does not have the resource, or does not let us see it, there are none: then it
            is looked for again every `absent_seconds`.
        absent_seconds: as said.
        clock: returns seconds that only grow.
        since: the resource version of a list of which the handler has been told already; None: it is yet to be told.
    """

    def __init__(  # noqa: PLR0913  each names one thing in which resources differ
        self,
        cluster: Cluster,
        resource: Resource,
        handler: Handler,
        *,
        field_selector: str = "",
        trim: Trim = _untrimmed,
        is_optional: bool = False,
        absent_seconds: float = ABSENT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        since: str | None = None,
    ) -> None:
        self._cluster = cluster
        self._resource = resource
        self._handler = handler
        self._field_selector = field_selector
        self._trim = trim
        self._is_optional = is_optional
        self._absent_seconds = absent_seconds
        self._clock = clock
        self._heard_at: float | None = None
        self._version = since
        self.synced = since is not None
        self.lists = 0
        self.restarts: Counter[Restart] = Counter()

    @property
    def failures(self) -> int:
        """How often a list or a watch failed."""
        return self.restarts[Restart.BROKEN] + self.restarts[Restart.FAILED]

    def silent_seconds(self) -> float | None:
        """For how long the API server has not been heard of: no list, change, bookmark, nor end of a watch as agreed.

        It is None before the first time. Where nothing changes, three minutes are no bad sign; see `SILENCE_SECONDS`.
        """
        return None if self._heard_at is None else self._clock() - self._heard_at

    async def run(self) -> None:
        """Work until cancelled. What the handler raises is a defect and ends the run."""
        while True:
            # There is no limit to the tries: without the API server there is nothing else to do.
            async for attempt in AsyncRetrying(
                retry=retry_if_exception_type(ApiError),
                wait=wait_exponential_jitter(multiplier=0.2, max=LONGEST_PAUSE_SECONDS, jitter=0.5),
                before_sleep=self._note_failure,
            ):
                with attempt:
                    await self._list_and_watch()

    async def _list_and_watch(self) -> None:
        """One list, where needed, and one watch, until the server ends it as agreed."""
        try:
            if self._version is None:
                await self._list()
            await self._watch()
        except ExpiredError:
            self.restarts[Restart.EXPIRED] += 1
            _log.info("watch expired, listing again", resource=self._resource.name)
            self._version = None
        except ApiError as error:
            if not self._is_optional or error.status not in _ABSENT:
                raise
            _log.info("there is no such resource for us", resource=self._resource.name, error=str(error))
            self._version = None
            self._handler.replaced([])
            self.synced = True
            self._heard_at = self._clock()
            await asyncio.sleep(self._absent_seconds)

    async def _list(self) -> None:
        objects: list[dict[str, Any]] = []
        version = ""
        async for page, version in self._cluster.pages(self._resource, field_selector=self._field_selector):  # noqa: B007  the last page's version is the list's
            # Trimmed page by page: the whole of a large cluster's pods would not fit into our memory limit.
            objects.extend(map(self._trim, page))
        self._handler.replaced(objects)
        self._version = version
        self.lists += 1
        self.synced = True
        self._heard_at = self._clock()
        _log.info("listed", resource=self._resource.name, objects=len(objects))

    async def _watch(self) -> None:
        resumed_from = self._version
        try:
            await self._follow(self._version or "")
        except ExpiredError:
            raise
        except ApiError as error:
            if self._version == resumed_from:
                raise
            # It worked for a while, so it is worth an immediate new try; only a watch that never works has to pause.
            self.restarts[Restart.BROKEN] += 1
            _log.info("watch broke, resuming", resource=self._resource.name, error=str(error))
        else:
            self.restarts[Restart.ENDED] += 1
            self._heard_at = self._clock()

    async def _follow(self, version: str) -> None:
        events = self._cluster.watch(self._resource, version, field_selector=self._field_selector)
        async with aclosing(events):
            async for event in events:
                self._heard_at = self._clock()
                obj = event["object"]
                match event["type"]:
                    case "ADDED" | "MODIFIED":
                        self._handler.changed(obj)
                    case "DELETED":
                        self._handler.deleted(obj)
                self._version = obj["metadata"]["resourceVersion"]

    def _note_failure(self, state: RetryCallState) -> None:
        self.restarts[Restart.FAILED] += 1
        _log.warning(
            "API server does not serve us, trying again",
            resource=self._resource.name,
            error=str(state.outcome.exception()) if state.outcome else None,
            pause_seconds=round(state.upcoming_sleep, 1),
        )
