"""Candidate nodes judged for a pod: what filter and prioritize have in common."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from extender.failures import is_left_out
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
        suspect: nodes that could serve the pod, but where GPU pods have failed of late, in tiers, the best first; not
            told apart from the others where all are suspect.
        left_out: the nodes that get no GPU pod for a while, by the reason in words.
    """

    tiers: list[Tier] = field(default_factory=list)
    refused: list[tuple[Refusal, list[str]]] = field(default_factory=list)
    unknown: list[tuple[str, list[str]]] = field(default_factory=list)
    suspect: list[list[str]] = field(default_factory=list)
    left_out: list[tuple[str, list[str]]] = field(default_factory=list)

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
    standings = ledger.standings
    if not standings or standings.keys().isdisjoint(names):
        return _judge(ledger, request, names)
    judged = _judge(ledger, request, [name for name in names if name not in standings])
    doubtful = [name for name in names if name in standings]
    out: defaultdict[str, list[str]] = defaultdict(list)
    for name in doubtful:
        if is_left_out(standings[name]):
            out[standings[name].reason].append(name)
    judged.left_out.extend(out.items())
    suspect = [name for name in doubtful if not is_left_out(standings[name])]
    _append(judged, _judge(ledger, request, suspect), request)
    return judged


def _append(judged: Judged, suspect: Judged, request: GpuRequest) -> None:
    """Put suspect nodes behind the others; where no other can serve the pod, in their place."""
    judged.refused.extend(suspect.refused)
    hard = request.wishes.are_hard
    if not judged.tiers and (hard or not judged.unknown):
        judged.tiers.extend(suspect.tiers)
        judged.unknown.extend(suspect.unknown)
        return
    judged.suspect.extend(tier.names for tier in suspect.tiers)
    if hard:
        judged.unknown.extend(suspect.unknown)
    else:
        judged.suspect.extend(nodes for _, nodes in suspect.unknown)


def _judge(ledger: Ledger, request: GpuRequest, names: Sequence[str]) -> Judged:
    """The same without regard to the nodes' standings."""
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
