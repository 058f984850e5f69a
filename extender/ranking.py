"""Candidate nodes judged for a pod: what filter and prioritize have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from extender.groups import Unknown
from extender.ledger import Ledger
from extender.offers import Able, Refused
from gpu_topology.placement import Refusal, merits, scores_of
from gpu_topology.request import GpuRequest


class Tier(NamedTuple):
    """Nodes that serve the pod equally well.

    Attributes:
        score: 0 to 10, relative to the other candidates: `gpu_topology.placement.rank`.
        names: the nodes.
    """

    score: int
    names: list[str]


@dataclass(frozen=True, slots=True)
class Judged:
    """All candidates for a pod, judged.

    Attributes:
        tiers: the nodes that can serve the pod, the best first.
        refused: the nodes that cannot, by reason.
        unknown: the nodes of which too little is known to say, by what is not known.
    """

    tiers: list[Tier] = field(default_factory=list)
    refused: list[tuple[Refusal, list[str]]] = field(default_factory=list)
    unknown: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def best(self) -> str | None:
        """A node that serves the pod best, or None where no known node can."""
        return self.tiers[0].names[0] if self.tiers else None


def judge(ledger: Ledger, request: GpuRequest, names: Sequence[str]) -> Judged:
    """Judge candidate nodes for a request.

    Args:
        ledger: the books.
        request: of at least one GPU.
        names: the candidates.
    """
    judged = Judged()
    able: list[tuple[Able, list[str]]] = []
    for offer, nodes in ledger.offers(request, names).items():
        match offer:
            case Able():
                able.append((offer, nodes))
            case Refused(refusal):
                judged.refused.append((refusal, nodes))
            case Unknown(problem):
                judged.unknown.append((problem, nodes))
    judged.tiers.extend(_tiers(able))
    return judged


def _tiers(able: Sequence[tuple[Able, list[str]]]) -> list[Tier]:
    """The offers in the order of their merits, which still differ between offers of the same score."""
    merit_of = merits([offer.assessment for offer, _ in able], [offer.fullness for offer, _ in able])
    scores = scores_of(merit_of)
    best_first = sorted(range(len(able)), key=lambda place: merit_of[place] or (), reverse=True)
    return [Tier(scores[place], able[place][1]) for place in best_first]
