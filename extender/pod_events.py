"""Events about pods, written in the background: why one waits, and what it got. No verb ever waits for the API server.

An event that happens again is counted, and written again as a series once a minute. How much is written has a limit, so
that a flood of pods costs neither the API server nor the verbs more than that; what goes beyond is dropped and counted.
"""

import asyncio
import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

import structlog

from extender.clock import utc_now
from extender.failing import REPORTER
from extender.pod_story import Said
from extender.pods import PodIdentity
from kubernetes_api import ApiError, ConflictError, NotFoundError, PodEvent, PodReference

SERIES_INTERVAL: Final = timedelta(minutes=1)
"""Between two writes of the same event of the same pod."""
MOST_PER_SECOND: Final = 10
"""Events written: a tenth of those that a kube-scheduler writes itself that binds 100 pods a second. Each takes 0.7 ms
of CPU time here (`kubernetes_api.Cluster` to a server on loopback, without TLS), all of them 0.7 % of one CPU."""
MOST_WAITING: Final = 500
"""Events that wait to be written: for 50 seconds, after which they would be old news."""
MOST_SERIES: Final = 1000
"""Events that are remembered, so that they are counted when they happen again."""
MOST_DOUBLINGS: Final = 8
"""Of the pause between two writes while the API server takes none: up to half a minute."""
_LONGEST_POD_NAME: Final = 200
"""Characters of a pod's name in the name of its event, which may have 253."""

_ABOUT_ONE_EVENT: Final = frozenset({400, 404, 409, 422})
"""Statuses that say nothing about the next event."""

_log = structlog.get_logger("extender")


class Outcome(StrEnum):
    """What became of an event that was to be written."""

    WRITTEN = "written"
    DROPPED = "dropped"
    """Too many were waiting."""
    FAILED = "failed"
    """The API server did not take it. Where it happens again, it is tried again."""


class PodEventApi(Protocol):
    """What is needed of `kubernetes_api.Cluster`."""

    async def create_pod_event(self, event: PodEvent) -> None:
        """Say something about a pod; raises `ConflictError`, `ApiError`."""

    async def repeat_pod_event(self, event: PodEvent, count: int) -> None:
        """Say that it has happened again; raises `NotFoundError`, `ApiError`."""


@dataclass(slots=True)
class _Series:
    """An event that may happen again.

    Attributes:
        count: how often it has happened.
        due: when it may be written next.
        is_created: whether the API server has it.
        is_waiting: whether it is to be written.
    """

    event: PodEvent
    due: datetime
    count: int = 0
    is_created: bool = False
    is_waiting: bool = False


class PodEvents:
    """Events about pods.

    Attributes:
        counted: what became of those that were to be written.

    Args:
        api: the API server.
        instance: who writes, such as the name of this process's pod.
        clock: returns the present time, with its zone.
        pause_seconds: between two writes.
    """

    def __init__(
        self,
        api: PodEventApi,
        instance: str,
        *,
        clock: Callable[[], datetime] = utc_now,
        pause_seconds: float = 1 / MOST_PER_SECOND,
    ) -> None:
        self.counted: Counter[Outcome] = Counter()
        self._api = api
        self._instance = instance
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._series: OrderedDict[tuple[PodIdentity, str], _Series] = OrderedDict()
        self._waiting: deque[_Series] = deque()
        self._wake = asyncio.Event()
        self._failures = 0

    def tell(self, pod: PodIdentity, said: Said) -> None:
        """Let `run` write that something has happened to a pod, perhaps again; returns at once."""
        now = self._clock()
        series = self._series.get((pod, said.reason))
        if series is None:
            series = self._remember((pod, said.reason), _Series(self._event(pod, said, f"{now.timestamp()}"), now))
        series.count += 1
        self._let_write(series, now)

    def tell_once(self, pod: PodIdentity, said: Said) -> None:
        """The same of what happens to a pod only once, whoever sees it: the first to write it is the only one."""
        self._let_write(_Series(self._event(pod, said, ""), self._clock(), 1), self._clock())

    async def run(self) -> None:
        """Write what is told, one after the other, until cancelled."""
        while True:
            self._wake.clear()
            while self._waiting:
                await self._write(self._waiting.popleft())
                await asyncio.sleep(self._pause_seconds * 2 ** min(self._failures, MOST_DOUBLINGS))
            await self._wake.wait()

    def _remember(self, key: tuple[PodIdentity, str], series: _Series) -> _Series:
        self._series[key] = series
        if len(self._series) > MOST_SERIES:
            self._series.popitem(last=False)
        return series

    def _let_write(self, series: _Series, now: datetime) -> None:
        if series.is_waiting or now < series.due:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.counted[Outcome.DROPPED] += 1
            return
        series.is_waiting = True
        self._waiting.append(series)
        self._wake.set()

    async def _write(self, series: _Series) -> None:
        series.is_waiting = False
        try:
            await self._send(series)
        except ApiError as error:
            self.counted[Outcome.FAILED] += 1
            self._note_failure(series.event, error)
            return
        self._failures = 0
        self.counted[Outcome.WRITTEN] += 1
        series.due = self._clock() + SERIES_INTERVAL

    def _note_failure(self, event: PodEvent, error: ApiError) -> None:
        """Log the first of a row of failures, and write more slowly."""
        if not self._failures:
            pod = f"{event.about.namespace}/{event.about.name}"
            _log.warning("an event is not taken", pod=pod, reason=event.reason, error=str(error))
        if error.status not in _ABOUT_ONE_EVENT:
            self._failures += 1

    async def _send(self, series: _Series) -> None:
        if series.is_created:
            try:
                await self._api.repeat_pod_event(series.event, series.count)
            except NotFoundError:
                series.event = replace(series.event, name=_name(series.event, f"{self._clock().timestamp()}"))
                series.count = 1
            else:
                return
        try:
            await self._api.create_pod_event(series.event)
        except ConflictError:
            _log.debug("the event is there already", event_name=series.event.name)
        series.is_created = True

    def _event(self, pod: PodIdentity, said: Said, occasion: str) -> PodEvent:
        namespace, _, name = pod.key.partition("/")
        event = PodEvent(
            "",
            PodReference(namespace, name, pod.uid),
            said.reason,
            said.action,
            said.note,
            said.is_warning,
            REPORTER,
            self._instance,
        )
        return replace(event, name=_name(event, occasion))


def _name(event: PodEvent, occasion: str) -> str:
    """The name of an event: whoever speaks of the same pod, reason and occasion comes to the same."""
    digest = hashlib.sha256(f"{event.about.uid} {event.reason} {occasion}".encode()).hexdigest()[:16]
    return f"{event.about.name[:_LONGEST_POD_NAME].rstrip('-.')}.{digest}"
