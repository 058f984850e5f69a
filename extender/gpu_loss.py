"""Which pods hold a lost GPU, and which of them are to be evicted now.

A pod whose GPU died stays where it is: to Kubernetes its containers run, and if they end they are started again beside
the same dead GPU. Evicted, it is replaced by its controller, on GPUs that work. An eviction cannot be taken back, so
that much has to be certain before one is tried:

- A pod holds what the agent's report shows it to hold. What is only expected, recorded or predicted counts for nothing:
  a node gives a pod another GPU in the place of one that is lost. Where the pod's own status names its GPUs and the
  lost one is not among them, the report lags behind.
- A cordoned GPU is not a lost one, nor are the GPUs of a node whose device plugin is being restarted.
- The loss must have been reported without a break for some time. A report that cannot be read or is stale is a break.
- Where many nodes seem to lose GPUs at once it is not the GPUs, but a driver that is being upgraded or an agent that is
  mistaken: then nobody is evicted, and afterwards the time begins anew.
- So many a minute are evicted over the whole cluster, and no pod twice.

Pure: no clock, no I/O; every time is given.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from extender.book import NodeBook
from extender.bookings import is_holder, shown_gpus
from extender.pods import BoundPod
from extender.reports import Knowledge
from gpu_topology.health import lost_among
from gpu_topology.placement import gpus_of, mask_of

MINUTE: Final = timedelta(minutes=1)
FIRST_PAUSE: Final = timedelta(seconds=10)
"""After the first try that failed; twice as long after each further one."""
LONGEST_PAUSE: Final = timedelta(minutes=5)
MOST_TRIES: Final = 30
"""Tries for one pod, over some two hours. Who sets a disruption budget that forbids evictions for longer means it."""
MOST_SHARE: Final = 0.2
"""The share of the GPU nodes on which pods may hold lost GPUs at a time; one may be in any case."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A pod that holds lost GPUs.

    Attributes:
        gpus: name of each of these, its UUID where it has one, to what is wrong with it.
    """

    pod: BoundPod
    gpus: Mapping[str, str]


class Outcome(StrEnum):
    """What came of trying to evict a pod."""

    EVICTED = "evicted"
    GONE = "gone"
    """The pod was gone before."""
    REFUSED = "refused"
    """A disruption budget forbids it for now, or the API server has too much to do."""
    FAILED = "failed"
    """The API server does not do it for another reason, or did not answer."""
    UNCONTROLLED = "uncontrolled"
    """Not tried: the pod has no controller that would replace it."""


_FINAL: Final = frozenset({Outcome.EVICTED, Outcome.GONE, Outcome.UNCONTROLLED})


def losses_on(book: NodeBook, pods: Iterable[BoundPod]) -> list[Loss]:
    """Those of a node's pods that hold a lost GPU, whole or a part of it.

    Args:
        book: the node's page.
        pods: pods that are bound to the node.
    """
    lost = _lost_on(book)
    if not lost:
        return []
    found = ((pod, _held_by(pod, book) & mask_of(lost)) for pod in pods)
    return [Loss(pod, {_name(gpu, book): lost[gpu] for gpu in gpus_of(held)}) for pod, held in found if held]


def is_hit(book: NodeBook) -> bool:
    """Whether anybody holds a lost GPU of a node. One that nobody holds may be broken for months."""
    state, lost = book.report.state, _lost_on(book)
    if state is None or not lost:
        return False
    held = {gpu for holder in state.held for gpu in holder.gpus} | {holder.gpu for holder in state.held_slices}
    return not held.isdisjoint(lost)


def is_storm(hit: int, nodes: int) -> bool:
    """Whether too many nodes are hit at a time for it to be their GPUs.

    Args:
        hit: nodes on which somebody holds a lost GPU.
        nodes: all GPU nodes.
    """
    return hit > max(1, int(nodes * MOST_SHARE))


@dataclass(slots=True)
class _Case:
    """A pod that holds lost GPUs, or did.

    Attributes:
        loss: which; None while it is not said to.
        since: since when without a break.
        not_before: when it may be tried.
        tries: how often it was tried in vain.
        is_closed: whether nothing more is to be tried.
    """

    loss: Loss | None
    since: datetime
    not_before: datetime
    tries: int = 0
    is_closed: bool = False


class LossBook:
    """Since when which pods hold lost GPUs, and what was tried.

    Args:
        patience: how long a loss must have been reported.
        per_minute: the most pods that are evicted within a minute.
    """

    def __init__(self, patience: timedelta, per_minute: int) -> None:
        self._patience = patience
        self._per_minute = per_minute
        self._cases: dict[str, _Case] = {}
        self._evictions: deque[datetime] = deque()

    def see(self, losses: Iterable[Loss], now: datetime) -> None:
        """These are all the pods that hold lost GPUs and are to be evicted for it."""
        present = {loss.pod.identity.uid: loss for loss in losses}
        for uid, case in self._cases.items():
            if uid not in present:
                case.loss = None
        for uid, loss in present.items():
            case = self._cases.setdefault(uid, _Case(None, now, now))
            if case.loss is None:
                case.since = now
            case.loss = loss

    def due(self, now: datetime) -> list[Loss]:
        """The pods that are to be evicted now, those that have waited longest first."""
        while self._evictions and self._evictions[0] <= now - MINUTE:
            self._evictions.popleft()
        ready = [(case.since, case.loss) for case in self._cases.values() if case.loss and self._is_due(case, now)]
        ready.sort(key=lambda entry: (entry[0], entry[1].pod.identity.key))
        return [loss for _, loss in ready[: max(0, self._per_minute - len(self._evictions))]]

    def doubt(self, uid: str) -> None:
        """What is said of this pod's GPUs may be old: the time begins anew when it is said the next time."""
        self._cases[uid].loss = None

    def note(self, uid: str, outcome: Outcome, now: datetime) -> bool:
        """Take note of what came of trying to evict a pod. Returns whether it will be tried again."""
        case = self._cases[uid]
        if outcome in (Outcome.EVICTED, Outcome.FAILED):  # of one that failed it may not be known that it worked
            self._evictions.append(now)
        case.tries += 1
        case.not_before = now + min(FIRST_PAUSE * 2 ** (case.tries - 1), LONGEST_PAUSE)
        case.is_closed = outcome in _FINAL or case.tries >= MOST_TRIES
        return not case.is_closed

    def keep_only(self, uids: Collection[str]) -> None:
        """There are no other pods that could be evicted."""
        for uid in self._cases.keys() - set(uids):
            del self._cases[uid]

    def _is_due(self, case: _Case, now: datetime) -> bool:
        return not case.is_closed and now >= max(case.since + self._patience, case.not_before)


def _lost_on(book: NodeBook) -> dict[int, str]:
    """The lost GPUs of a node by a report that is up to date, each with the reason."""
    state = book.report.state
    return lost_among(state.unhealthy) if state is not None and book.knowledge is Knowledge.KNOWN else {}


def _held_by(pod: BoundPod, book: NodeBook) -> int:
    """The mask of the GPUs of which a report shows a pod to hold all or a part."""
    state = book.report.state
    if state is None:
        return 0
    whole = shown_gpus(pod, state.held)
    if pod.witnessed is not None:
        whole = mask_of(gpu for gpu in gpus_of(whole) if _name(gpu, book) in pod.witnessed)
    parts = (holder.gpu for holder in state.held_slices if holder.gpu is not None and is_holder(holder, pod))
    return whole | mask_of(parts)


def _name(gpu: int, book: NodeBook) -> str:
    machine = book.report.machine
    return (machine.uuids[gpu] if machine is not None else None) or f"GPU {gpu}"
