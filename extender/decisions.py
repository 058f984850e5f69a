"""What was answered about recent pods, for whoever asks why a pod still waits."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from extender.pods import PodIdentity
from gpu_topology.request import GpuRequest

REMEMBERED_PODS: Final = 1000
"""Pods whose last answers are kept: about 1 KiB each. More wait in a queue only where it has stopped moving."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """An answer to filter.

    Attributes:
        candidates: how many nodes kube-scheduler asked about.
        passed: how many it may choose from.
        left_out: how many could serve the pod too, but less well.
        refused: how many could not, by kind of reason.
    """

    at: datetime
    candidates: int
    passed: int
    left_out: int
    refused: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Prioritized:
    """An answer to prioritize.

    Attributes:
        candidates: how many nodes kube-scheduler asked about.
        scored: how many have a score above 0.
        best: the one that serves the pod best; None where no known node can.
    """

    at: datetime
    candidates: int
    scored: int
    best: str | None


@dataclass(frozen=True, slots=True)
class Preempted:
    """An answer to preempt.

    Attributes:
        offered: node to how many pods kube-scheduler would evict there.
        kept: node to how many it may evict; nodes that are not in it were dropped.
        awaited: the node for which the pod has evicted others already, if it is still to wait for that one.
    """

    at: datetime
    offered: Mapping[str, int]
    kept: Mapping[str, int]
    awaited: str | None


@dataclass(slots=True)
class Decision:
    """What is remembered of a pod.

    Attributes:
        pod: which one.
        request: what it asks for; nothing where that could not be read.
        problem: why nothing could be decided about it, in a sentence, or None.
        tries: how often filter was answered before.
        filtered: the last answer to filter; likewise the others. None where there was none.
        evicted_at: when it was last allowed to have other pods evicted; None if never.
        has_arrived: whether it has been seen bound.
    """

    pod: PodIdentity
    request: GpuRequest = field(default_factory=GpuRequest)
    problem: str | None = None
    tries: int = 0
    filtered: Filtered | None = None
    prioritized: Prioritized | None = None
    preempted: Preempted | None = None
    evicted_at: datetime | None = None
    has_arrived: bool = False

    @property
    def asked_at(self) -> datetime | None:
        """When kube-scheduler was answered last; None if it could not be."""
        answers = (self.filtered, self.prioritized, self.preempted)
        return max((answer.at for answer in answers if answer is not None), default=None)


class Decisions:
    """The decisions about the pods that were asked about last.

    Args:
        limit: how many pods are remembered.
    """

    def __init__(self, limit: int = REMEMBERED_PODS) -> None:
        self._limit = limit
        self._by_pod: OrderedDict[str, Decision] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_pod)

    def __iter__(self) -> Iterator[Decision]:
        """Whoever was asked about first comes first."""
        return iter(self._by_pod.values())

    def about(self, pod: PodIdentity) -> Decision:
        """What is remembered of a pod that is being asked about, to be brought up to date.

        A pod of the same name with another UID is another pod, of which nothing is known yet.
        """
        decision = self.of(pod)
        if decision is None:
            decision = self._by_pod[pod.key] = Decision(pod)
        self._by_pod.move_to_end(pod.key)
        if len(self._by_pod) > self._limit:
            self._by_pod.popitem(last=False)
        return decision

    def recall(self, key: str) -> Decision | None:
        """What is remembered of the pod "<namespace>/<name>", or None."""
        return self._by_pod.get(key)

    def of(self, pod: PodIdentity) -> Decision | None:
        """What is remembered of this very pod, or None."""
        decision = self.recall(pod.key)
        return decision if decision is not None and decision.pod == pod else None

    def tries(self, pod: PodIdentity) -> int:
        """How often filter was answered about a pod, as far as that is remembered."""
        decision = self.of(pod)
        return 0 if decision is None else decision.tries

    def request_of(self, pod: PodIdentity) -> GpuRequest | None:
        """What a pod asks for, where it was asked about and could be read; None otherwise."""
        decision = self.of(pod)
        return None if decision is None or decision.request.is_empty else decision.request
