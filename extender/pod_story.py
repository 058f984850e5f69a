"""What is told of a pod: why it waits, and what it got. Pure.

The refusals of a pod that waits are those of the nodes that kube-scheduler has asked about, which has ruled out others
itself; its own event on the pod, FailedScheduling, speaks of them all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from extender.filter import FAILING_NODE, PODS_ON_THEIR_WAY, TOPOLOGY_UNKNOWN
from extender.placed import Placed
from extender.pods import PodIdentity
from gpu_topology.placement import RefusalKind
from gpu_topology.request import GpuRequest

_IN_WORDS: Final[dict[str, str]] = {
    RefusalKind.TOO_FEW_FREE: "with too few free",
    RefusalKind.REQUIRE: "where no free set has in common what it requires",
    RefusalKind.BANDWIDTH: "where no free set is as fast as it requires",
    RefusalKind.COMBINATION: "where not all of its containers can have what they require",
    RefusalKind.VENDOR_CHOICE: "where the vendor's device plugin may pick a set that breaks what it requires",
    TOPOLOGY_UNKNOWN: "whose topology is not known",
    FAILING_NODE: "left out because GPU pods keep failing there",
    PODS_ON_THEIR_WAY: "where others may be about to take what it needs",
}
_COUNTED: Final = frozenset({RefusalKind.TOO_FEW_FREE, FAILING_NODE})
"""Kinds of refusal that have nothing to do with links."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be said about a pod.

    Attributes:
        reason: one word for what happened; with the pod it makes the event.
        action: one word for what was done.
        note: a sentence. That of the first time stays: the API server lets only the count of an event change.
        is_warning: whether somebody should look.
    """

    reason: str
    action: str
    note: str
    is_warning: bool = False


class Teller(Protocol):
    """Whoever tells people about pods."""

    def tell(self, pod: PodIdentity, said: Said) -> None:
        """Something has happened to a pod, perhaps again."""

    def tell_once(self, pod: PodIdentity, said: Said) -> None:
        """Something has happened to a pod that happens only once, whoever sees it."""


class Nobody:
    """A `Teller` that keeps it to itself."""

    def tell(self, pod: PodIdentity, said: Said) -> None:
        """See `Teller`."""

    def tell_once(self, pod: PodIdentity, said: Said) -> None:
        """See `Teller`."""


NOBODY: Final = Nobody()


def waiting(pod: str, request: GpuRequest, refusals: Mapping[str, int]) -> Said:
    """That none of the nodes that were asked about can serve a pod, and why.

    Args:
        pod: "<namespace>/<name>".
        request: what it asks for.
        refusals: how many of the nodes that were asked about refused it, by kind of reason.
    """
    largest_first = sorted(refusals.items(), key=lambda refusal: -refusal[1])
    groups = ", ".join(f"{_nodes(nodes)} {_IN_WORDS.get(kind, kind)}" for kind, nodes in largest_first)
    reason = "WaitsForGpus" if refusals.keys() <= _COUNTED else "WaitsForLinkedGpus"
    asked = f"{request.total} GPUs" if request.total != 1 else "1 GPU"
    if request.slices:
        asked = f"{asked} and parts of GPUs" if request.total else "parts of GPUs"
    candidates = _nodes(sum(refusals.values()))
    note = (
        f"When it was first refused, none of {candidates} that kube-scheduler asked about could serve it with {asked}"
        f"{': ' if groups else ''}{groups}. What holds now, and what would help: gputopo explain {pod}"
    )
    return Said(reason, "Filtering", note)


def unreadable(problem: str) -> Said:
    """That an annotation of a pod cannot be read, so that it waits until it is created anew."""
    return Said("UnreadableGpuWish", "Filtering", f"It is not scheduled: {problem}", is_warning=True)


def placed(what: Placed) -> Said:
    """That a pod of several GPUs is bound, and what it got."""
    return Said("GpusPlaced", "Binding", what.sentence())


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
