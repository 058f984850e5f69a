"""Keeps the standings of the nodes up to date, and tells of every change: in the log, and as events of the node."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from extender.clock import utc_now
from extender.failures import FailureBook, Standing, Verdict, count_standings
from extender.ledger import Ledger
from extender.outcomes import Failure, FailureReason, Success, outcomes_of
from extender.pods import identity_of
from kubernetes_api import NodeEvent

REPORTER: Final = "gpu-scheduler/extender"
LATELY: Final = timedelta(minutes=10)
"""Only who has answered kube-scheduler within this time writes events, so that a standby does not double them: where
nodes fail, pods are being placed."""
DEFAULT_FAILURES: Final = 5
DEFAULT_PAUSE: Final = timedelta(minutes=15)

Tell = Callable[[str, NodeEvent], None]
"""Takes an event about a node, to be written when there is time."""

_log = structlog.get_logger("extender")


def _to_nobody(_node: str, _event: NodeEvent) -> None:
    """For who only wants the log."""


class FailingNodes:
    """Feeds what becomes of pods into a `FailureBook`, and the standings that follow into the ledger.

    A `kubernetes_api.Handler` of pods.

    Attributes:
        counted: failures that counted against their node, by reason.

    Args:
        ledger: gets the standings.
        threshold: failures after which a node is left out.
        pause: for how long, the first time.
        tell: takes the events.
        clock: returns the present time, with its zone.
    """

    def __init__(
        self,
        ledger: Ledger,
        threshold: int = DEFAULT_FAILURES,
        pause: timedelta = DEFAULT_PAUSE,
        *,
        tell: Tell = _to_nobody,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.counted: Counter[FailureReason] = Counter()
        self._ledger = ledger
        self._book = FailureBook(threshold, pause)
        self._tell = tell
        self._clock = clock
        self._is_dirty = False
        self._wake = asyncio.Event()
        self._due: datetime | None = None
        self._asked_at: datetime | None = None
        self._told: set[str] = set()

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the pods: what became of them is taken note of in the order in which it happened."""
        outcomes = [outcome for pod in objects for outcome in outcomes_of(pod)]
        for outcome in sorted(outcomes, key=lambda outcome: (outcome.at, outcome.pod)):
            self._record(outcome)

    def changed(self, obj: dict[str, Any]) -> None:
        """A pod was added or changed."""
        for outcome in outcomes_of(obj):
            self._record(outcome)

    def deleted(self, obj: dict[str, Any]) -> None:
        """A pod is gone."""
        identity = identity_of(obj)
        self._book.end(identity.uid or identity.key, self._clock())
        self._touch()

    def asked(self) -> None:
        """kube-scheduler has asked this replica something about a pod; called before it is answered."""
        self._asked_at = self._clock()
        self.look()

    def look(self) -> None:
        """Bring the ledger's standings up to date, and tell of what has changed."""
        now = self._clock()
        if not self._is_dirty and (self._due is None or now < self._due):
            return
        before, after = self._ledger.standings, self._book.verdicts(now, self._ledger.count_gpu_nodes)
        self._is_dirty, self._due = False, self._book.next_change(now)
        self._ledger.standings = after
        for node in sorted(before.keys() | after.keys()):
            self._note(node, before.get(node), after.get(node), now)

    def standings(self) -> dict[str, int]:
        """How many nodes have each standing."""
        self.look()
        return count_standings(self._ledger.standings, self._ledger.count_gpu_nodes())

    async def run(self) -> None:
        """Look whenever something has happened or is due, until cancelled: also where nobody asks."""
        while True:
            self.look()
            self._wake.clear()
            seconds = None if self._due is None else max((self._due - self._clock()).total_seconds(), 0.0)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)

    def forget(self, node: str) -> None:
        """A node is gone."""
        self._book.forget(node)
        self._told.discard(node)
        self._touch()

    def keep_only(self, nodes: Iterable[str]) -> None:
        """These are all the nodes."""
        names = set(nodes)
        self._book.keep_only(names)
        self._told &= names
        self._touch()

    def _record(self, outcome: Failure | Success) -> None:
        now = self._clock()
        if isinstance(outcome, Failure) and outcome.at > now:
            # By a clock that is ahead of ours; the node must not be left out for longer because of it.
            outcome = replace(outcome, at=now)
        if self._book.record(outcome, now) and isinstance(outcome, Failure):
            self.counted[outcome.reason] += 1
        self._touch()

    def _touch(self) -> None:
        self._is_dirty = True
        self._wake.set()

    def _note(self, node: str, before: Verdict | None, after: Verdict | None, now: datetime) -> None:
        """Log a change of a node's standing, and tell people who look at the node where it matters to them."""
        was = before.standing if before else Standing.GOOD
        standing = after.standing if after else Standing.GOOD
        if was is standing:
            return
        log = _log.warning if standing is Standing.LEFT_OUT else _log.info
        log("standing", node=node, was=was, standing=standing, why=after.reason if after else None)
        serves = self._asked_at is not None and now - self._asked_at <= LATELY
        if standing is Standing.LEFT_OUT and after is not None and serves:
            self._told.add(node)
            self._tell(node, NodeEvent("GpuNodeLeftOut", "LeftOut", after.reason, is_warning=True, reporter=REPORTER))
        elif was is Standing.LEFT_OUT and (node in self._told or serves):
            self._told.discard(node)
            self._tell(
                node, NodeEvent("GpuNodeTakenBack", "TakenBack", _back(after), is_warning=False, reporter=REPORTER)
            )


class Departures:
    """A `kubernetes_api.Handler` of nodes: another node that comes under the name of one that is gone starts anew."""

    def __init__(self, failing: FailingNodes) -> None:
        self._failing = failing

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the nodes."""
        self._failing.keep_only(obj["metadata"]["name"] for obj in objects)

    def changed(self, obj: dict[str, Any]) -> None:
        """A node that is there: nothing to forget."""

    def deleted(self, obj: dict[str, Any]) -> None:
        """A node is gone."""
        self._failing.forget(obj["metadata"]["name"])


def _back(verdict: Verdict | None) -> str:
    if verdict is None:
        return "GPU pods are placed here again: they no longer fail here"
    return f"GPU pods are placed here again, behind other nodes: {verdict.reason}"
