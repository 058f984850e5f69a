"""What a pod of several GPUs got where it was bound, beside the best that such a machine can give. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from extender.book import NodeBook
from extender.bookings import shown_gpus
from extender.findings import Basis, basis_of
from extender.groups import Situation
from extender.pods import BoundPod
from gpu_topology.placement import best_bandwidth
from gpu_topology.request import Wishes

_ROUNDING: Final = 1e-9
_FEWEST_LINKED: Final = 2
"""GPUs of a container between which there is a link."""


class Quality(StrEnum):
    """How a pod's bandwidth compares with the best that an empty machine of the kind gives to such a pod."""

    BEST = "best"
    """No less than that."""
    HALF = "half"
    """At least half of it."""
    LESS = "less"
    """Less than half of it."""
    UNKNOWN = "unknown"
    """It is not known which GPUs the pod gets, or how they are linked."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A pod with a container of several whole GPUs, bound to a node.

    Attributes:
        node: where.
        gpus: how many it has.
        basis: what it rests on which ones these are; None where the agent's report shows them.
        bandwidth_gbps: of its sets, in GB/s; where the vendor's device plugin chooses, the least that is expected. None
            where that is not known.
        best_gbps: the best that an empty machine of the kind gives to such a pod, in GB/s; None with the other.
        problem: why they are not known, in a sentence, or None.
    """

    node: str
    gpus: int
    basis: Basis | None = None
    bandwidth_gbps: float | None = None
    best_gbps: float | None = None
    problem: str | None = None

    @property
    def quality(self) -> Quality:
        """The class of what it got."""
        if self.bandwidth_gbps is None or self.best_gbps is None:
            return Quality.UNKNOWN
        if self.bandwidth_gbps >= self.best_gbps - _ROUNDING:
            return Quality.BEST
        return Quality.HALF if self.bandwidth_gbps >= self.best_gbps / 2 else Quality.LESS

    def sentence(self) -> str:
        """The same for a person."""
        if self.bandwidth_gbps is None:
            return f"{self.gpus} GPUs on {self.node}; how they are linked is not known: {self.problem}"
        return (
            f"{self.gpus} GPUs on {self.node} {_HOW[self.basis]} {self.bandwidth_gbps:.4g} GB/s; "
            f"the best that such a machine gives when it is empty is {self.best_gbps:.4g}"
        )


_HOW: Final[dict[Basis | None, str]] = {
    None: "that reach",
    Basis.RECORDED: "are recorded for it, which reach",
    Basis.ENFORCED: "are expected to reach",
    Basis.PREDICTED: "are expected to reach at least",
}


def placed_of(pod: BoundPod, book: NodeBook | None) -> Placed | None:
    """What a pod got, by the page of the node that it is bound to.

    Of a pod with several containers the books know the GPUs, not always which container has which: the best division
    is assumed, which is the one that placement chooses.

    Returns:
        None where there is nothing to tell: no container has several whole GPUs.
    """
    situation = book.group if book is not None else None
    whole = situation.split(pod.request).whole if isinstance(situation, Situation) else pod.request
    if max((container.gpus for container in whole.containers), default=0) < _FEWEST_LINKED:
        return None
    if book is None or not isinstance(situation, Situation) or book.report.state is None:
        problem = "the node is gone" if book is None else book.problem
        return Placed(pod.node, whole.total, problem=problem or "too little is known of the node")
    expected = book.expected.get(pod.identity.key, 0)
    has = shown_gpus(pod, book.report.state.held) | expected
    whatever = replace(whole, wishes=Wishes())  # what it wanted does not change what it got
    bandwidth = best_bandwidth(situation.tables, has, whatever)
    best = best_bandwidth(situation.tables, situation.tables.graph.everything, whatever)
    if bandwidth is None or best is None or has.bit_count() != whole.total:
        return Placed(pod.node, whole.total, problem="the node's report does not have as many GPUs for it")
    return Placed(pod.node, whole.total, basis_of(book, pod.identity.key) if expected else None, bandwidth, best)
