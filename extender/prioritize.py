"""Prioritize: how well each candidate node serves a pod."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from extender.ledger import Ledger
from extender.ranking import judge
from gpu_topology.placement.rank import WORTH_GAP
from gpu_topology.request import GpuRequest


@dataclass(frozen=True, slots=True)
class PrioritizeResult:
    """The answer to a prioritize request.

    Attributes:
        scored: scores from 1 to 10, and the nodes that have them. A node that is not among them has score 0:
            kube-scheduler takes it so, and short answers are what makes an extender cheap.
        best: a node that serves the pod best; None where no known node can.
    """

    scored: list[tuple[int, list[str]]] = field(default_factory=list)
    best: str | None = None


def prioritize_nodes(ledger: Ledger, request: GpuRequest, names: Sequence[str]) -> PrioritizeResult:
    """Score the candidates against one another: `gpu_topology.placement.rank` says how.

    All nodes are equal to a pod without GPUs. Nodes that cannot serve the pod, and those of which too little is known,
    score 0. So do those where GPU pods have failed of late; where the only others are unknown ones, these come before
    them by as much as the best set on offer comes before the next.

    Args:
        ledger: the books.
        request: what the pod asks for.
        names: the candidates.
    """
    if request.is_empty:
        return PrioritizeResult()
    judged = judge(ledger, request, names)
    scored = [(tier.score, tier.names) for tier in judged.tiers if tier.score > 0]
    if judged.suspect and not judged.tiers:
        scored += [(WORTH_GAP, nodes) for _, nodes in judged.unknown]
    return PrioritizeResult(scored, judged.best)
