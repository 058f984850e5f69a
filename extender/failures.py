"""Which nodes eat pods: where GPU pods keep failing at admission or right after their start.

Such a node always looks empty, so that it attracts ever more pods. Here its failures are counted, and a standing
follows from them::

    good  -- half as many failures as allowed -->  suspect  -- all of them -->  left out
      ^                                                                            |
      +-- a GPU pod runs --  on probation  <-- after a pause ----------------------+
                                  |
                                  +-- one more failure --> left out, for twice as long

It must not let one broken job take the cluster's nodes away:

- Pods that the kubelet refuses are the node's fault, each of them. Pods that fail right after their start may be their
  own: they count once for each owner, and only where pods of two owners or more have failed on the node.
- An owner whose pods fail on several nodes is at fault itself: none of its failures counts any more.
- No more than a share of the nodes is left out at a time: if it seems to be more, it is not the nodes.

Pure: no clock, no I/O; every time is given. What follows depends on when pods failed and ran, by their own status, and
as little as possible on the order in which that became known, so that a restarted extender comes to the same standings
from the pods that are still there.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from extender.outcomes import Failure, FailureReason, Success

WINDOW: Final = timedelta(minutes=10)
"""How far back failures are counted."""
MOST_DOUBLINGS: Final = 3
"""A node that fails again and again is left out for up to eight times the first pause."""
MEMORY: Final = timedelta(hours=24)
"""How long a node stays on probation where no pod tries it, and how old an outcome may be that is heeded."""
OWNER_NODES: Final = 3
"""An owner whose pods fail on this many nodes within `WINDOW` is at fault itself."""
MOST_SHARE: Final = 0.2
"""The share of the GPU nodes that may be left out at a time; one may be in any case."""
FAILURES_PER_NODE: Final = 64
"""Failures that are remembered of a node, the latest ones."""
REMEMBERED_OWNERS: Final = 4096
"""Owners whose failures are remembered, those that failed last."""

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Standing(StrEnum):
    """What is to be thought of a node."""

    GOOD = "good"
    SUSPECT = "suspect"
    """Comes behind all good ones."""
    LEFT_OUT = "left-out"
    """Gets no GPU pod for a while."""
    PROBATION = "probation"
    """As suspect, after it was left out, until a GPU pod has run or failed there."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The standing of a node that is not good.

    Attributes:
        reason: in words, for a person.
        until: until when it is left out; None unless it is.
    """

    standing: Standing
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Term:
    """A time for which a node is left out.

    Attributes:
        grounds: the failures for which it is.
        needed: how many of them it takes.
        since, until: from the last of these failures on.
        before: the term before that, if no pod has run in between.
        times: how many terms it is in all, this one included.
    """

    grounds: tuple[Failure, ...]
    needed: int
    since: datetime
    until: datetime
    before: "_Term | None" = None
    times: int = 1


@dataclass(slots=True)
class _Owner:
    """An owner of pods that failed.

    Attributes:
        failed_on: node to when one of its pods failed there last, within `WINDOW`.
        at_fault_until: none of its failures up to then counts.
    """

    failed_on: dict[str, datetime] = field(default_factory=dict)
    at_fault_until: datetime = _LONG_AGO


@dataclass(slots=True)
class _Record:
    """What speaks against a node.

    Attributes:
        failures: pod or owner to its latest failure, of those that count since the node ran a pod or was taken back.
        term: the last time that it was left out; None where a pod has run since.
    """

    failures: dict[str, Failure] = field(default_factory=dict)
    term: _Term | None = None

    def is_out(self, now: datetime) -> bool:
        """Whether its term is not over yet."""
        return self.term is not None and now < self.term.until


class FailureBook:
    """The failures of the nodes, and what follows from them.

    Args:
        threshold: failures within `WINDOW` after which a node is left out; at least 1.
        pause: for how long, the first time.
    """

    def __init__(self, threshold: int, pause: timedelta) -> None:
        self._threshold = threshold
        self._pause = pause
        self._records: dict[str, _Record] = {}
        self._ran_at: dict[str, datetime] = {}
        self._starting: dict[str, Success] = {}
        self._owners: OrderedDict[str, _Owner] = OrderedDict()

    def record(self, outcome: Failure | Success, now: datetime) -> bool:
        """Take note of how a pod fared; saying so again changes nothing.

        Returns:
            whether it is a failure that counts against its node and was not known.
        """
        if outcome.at <= now - MEMORY:
            return False
        if isinstance(outcome, Failure):
            self._starting.pop(outcome.pod, None)
            return self._failed(outcome)
        if outcome.at > now:
            self._starting[outcome.pod] = outcome
        else:
            self._ran(outcome)
        return False

    def end(self, pod: str, now: datetime) -> None:
        """A pod is gone: if it has not run for long enough by now, it never will have."""
        self._settle(now)
        self._starting.pop(pod, None)

    def forget(self, node: str) -> None:
        """A node is gone; another one may come under its name."""
        self._records.pop(node, None)
        self._ran_at.pop(node, None)

    def keep_only(self, nodes: Iterable[str]) -> None:
        """These are all the nodes that exist."""
        for node in (self._records.keys() | self._ran_at.keys()) - set(nodes):
            self.forget(node)

    def verdicts(self, now: datetime, nodes: Callable[[], int]) -> dict[str, Verdict]:
        """Every node that is not good.

        Args:
            now: the present time.
            nodes: says how many GPU nodes there are; asked only where several are to be left out.
        """
        self._settle(now)
        self._forget_old(now)
        out = [(each.term.since, node) for node, each in self._records.items() if each.term and each.is_out(now)]
        allowed = max(1, int(nodes() * MOST_SHARE)) if len(out) > 1 else 1
        excess = {node for _, node in sorted(out)[allowed:]}
        found = {node: self._verdict(each, now, spared=node in excess) for node, each in self._records.items()}
        return {node: verdict for node, verdict in found.items() if verdict is not None}

    def next_change(self, now: datetime) -> datetime | None:
        """When standings may differ from those of now although nothing has happened; None: never."""
        times = [success.at for success in self._starting.values() if success.node in self._records]
        for record in self._records.values():
            times += [failure.at + WINDOW for failure in record.failures.values()]
            times += [record.term.until, record.term.until + MEMORY] if record.term is not None else []
        return min((time for time in times if time > now), default=None)

    def _failed(self, failure: Failure) -> bool:
        record = self._records.get(failure.node) or _Record()
        heeded_from = max(self._ran_at.get(failure.node, _LONG_AGO), record.term.until if record.term else _LONG_AGO)
        known = record.failures.get(_key(failure))
        if failure.at <= (heeded_from if known is None else max(heeded_from, known.at)):
            return False
        if self._is_owners_fault(failure):
            return False
        self._records[failure.node] = record
        record.failures[_key(failure)] = failure
        if len(record.failures) > FAILURES_PER_NODE:
            del record.failures[min(record.failures, key=lambda each: record.failures[each].at)]
        self._weigh(record)
        return True

    def _ran(self, success: Success) -> None:
        if success.at <= self._ran_at.get(success.node, _LONG_AGO):
            return
        self._ran_at[success.node] = success.at
        record = self._records.get(success.node)
        if record is None:
            return
        record.failures = {key: each for key, each in record.failures.items() if each.at > success.at}
        if record.term is not None and record.term.since < success.at:
            record.term = None

    def _weigh(self, record: _Record) -> None:
        """Leave a node out if it has failed often enough; one failure is enough on probation."""
        last = max(each.at for each in record.failures.values())
        counted = _counted(record.failures.values(), last)
        needed, before = (self._threshold, 0) if record.term is None else (1, record.term.times)
        if len(counted) < needed:
            return
        until = last + self._pause * 2 ** min(before, MOST_DOUBLINGS)
        # One term back is remembered, no further: the chain would grow for as long as the node is broken.
        earlier = None if record.term is None else replace(record.term, before=None)
        record.term = _Term(tuple(counted), needed, last, until, earlier, before + 1)
        record.failures = {}

    def _is_owners_fault(self, failure: Failure) -> bool:
        """Whether pods of this owner fail on several nodes, this one included; then none of its failures counts."""
        owner = self._owners.setdefault(failure.owner, _Owner())
        self._owners.move_to_end(failure.owner)
        if len(self._owners) > REMEMBERED_OWNERS:
            self._owners.popitem(last=False)
        if failure.at <= owner.at_fault_until:
            return True
        owner.failed_on[failure.node] = max(owner.failed_on.get(failure.node, _LONG_AGO), failure.at)
        last = max(owner.failed_on.values())
        owner.failed_on = {node: at for node, at in owner.failed_on.items() if at > last - WINDOW}
        if len(owner.failed_on) < OWNER_NODES:
            return False
        owner.at_fault_until = last
        for record in self._records.values():
            _acquit(record, failure.owner)
        return True

    def _settle(self, now: datetime) -> None:
        """Take note of the pods that have run for long enough by now."""
        for pod, success in list(self._starting.items()):
            if success.at <= now:
                del self._starting[pod]
                self._ran(success)

    def _forget_old(self, now: datetime) -> None:
        for node, record in list(self._records.items()):
            if record.term is not None and record.term.until <= now - MEMORY:
                record.term = None
            record.failures = {key: each for key, each in record.failures.items() if each.at > now - WINDOW}
            if record.term is None and not record.failures:
                del self._records[node]

    def _verdict(self, record: _Record, now: datetime, *, spared: bool) -> Verdict | None:
        if record.term is not None:
            return _verdict_on(record.term, now, spared=spared)
        counted = _counted(record.failures.values(), now)
        is_suspect = counted and 2 * len(counted) >= self._threshold
        return Verdict(Standing.SUSPECT, _sentence(counted)) if is_suspect else None


def _verdict_on(term: _Term, now: datetime, *, spared: bool) -> Verdict:
    happened = _sentence(term.grounds, again=term.times > 1)
    if now >= term.until:
        return Verdict(Standing.PROBATION, f"{happened}; on probation since {term.until:%H:%M} UTC")
    if spared:
        return Verdict(Standing.SUSPECT, f"{happened}; not left out, as so many nodes can hardly all be broken")
    return Verdict(Standing.LEFT_OUT, f"{happened}; left out until {term.until:%H:%M} UTC", term.until)


def _acquit(record: _Record, owner: str) -> None:
    """Take the failures of an owner off a node's account, and end its term if the others are not enough for it."""
    record.failures = {key: each for key, each in record.failures.items() if each.owner != owner}
    while record.term is not None:
        others = [each for each in record.term.grounds if each.owner != owner]
        if len(_counted(others, record.term.since)) >= record.term.needed:
            return
        record.failures |= {_key(each): each for each in others}
        record.term = record.term.before


def _key(failure: Failure) -> str:
    """Failures of one key count once."""
    return failure.owner if failure.reason is FailureReason.EARLY_EXIT else failure.pod


def _counted(failures: Iterable[Failure], at: datetime) -> list[Failure]:
    """Those failures that count at some time, in the order in which they happened."""
    recent = [each for each in failures if at - WINDOW < each.at <= at]
    if len({each.owner for each in recent}) < 2:  # noqa: PLR2004  one owner's pods may be broken themselves
        recent = [each for each in recent if each.reason is not FailureReason.EARLY_EXIT]
    return sorted(recent, key=lambda each: (each.at, each.pod))


def _sentence(failures: Sequence[Failure], *, again: bool = False) -> str:
    owners = len({each.owner for each in failures})
    pods = "1 GPU pod" if len(failures) == 1 else f"{len(failures)} GPU pods"
    of = "" if len(failures) == 1 else f" of {owners} owner{'s' if owners > 1 else ''}"
    when = "again" if again else f"within {WINDOW.total_seconds() / 60:.0f} minutes"
    last = failures[-1]
    said = last.detail if last.reason is not FailureReason.EARLY_EXIT else f"{last.reason}, {last.detail}"
    return f"{pods}{of} failed here {when}, the last: {said}"


def is_left_out(verdict: Verdict | None) -> bool:
    """Whether a node gets no GPU pod for now; None: nothing speaks against it."""
    return verdict is not None and verdict.standing is Standing.LEFT_OUT


def count_standings(verdicts: Mapping[str, Verdict], nodes: int) -> dict[str, int]:
    """How many nodes have each standing, of so many in all."""
    standings = [verdict.standing for verdict in verdicts.values()]
    counts = {standing.value: standings.count(standing) for standing in Standing}
    return counts | {Standing.GOOD.value: nodes - len(standings)}
