"""Filter: which candidate nodes can serve a pod, and if not, why not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from extender.ledger import Ledger
from extender.on_their_way import Traveller
from extender.promises import holds
from extender.ranking import Judged, judge
from gpu_topology.placement import Refusal, RefusalKind
from gpu_topology.request import GpuRequest

TOPOLOGY_UNKNOWN: Final = "topology-unknown"
FAILING_NODE: Final = "failing-node"
PODS_ON_THEIR_WAY: Final = "pods-on-their-way"
"""The kinds of the refusals that are not placement's."""
_WAITS: Final = "other pods may be about to take the GPUs here that it needs; it is tried again once that is known"


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The answer to a filter request.

    Attributes:
        passed: nodes that can serve the pod, the best first, at most as many as were asked for.
        failed: node to the reason why it cannot, where evicting pods might help.
        unresolvable: node to the reason why it cannot, where evicting pods would not help, or where kube-scheduler
            would find nobody to evict: it looks for victims by counting, so that a node where the counts suffice and
            only the links do not is out of its reach.
        left_out: how many nodes could serve the pod too, but less well than those that passed.
        refusals: how many nodes were refused, by kind of reason.
        best: a node that serves the pod best; None where no known node can.
    """

    passed: Sequence[str]
    failed: dict[str, str] = field(default_factory=dict)
    unresolvable: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    best: str | None = None


def filter_nodes(  # noqa: PLR0913  each of the last three has a default and a name
    ledger: Ledger,
    request: GpuRequest,
    names: Sequence[str],
    *,
    limit: int = 0,
    turn: int = 0,
    on_their_way: Sequence[Traveller] = (),
) -> FilterResult:
    """Decide which nodes can serve a pod.

    A pod without GPUs passes everywhere. A node of which too little is known passes, behind all known ones, unless the
    pod has a hard wish, which nobody could promise to keep there. A node where GPU pods have failed of late passes
    behind all others, and one that is left out for it does not pass.

    Args:
        ledger: the books.
        request: what the pod asks for.
        names: the candidates.
        limit: pass on this many nodes at most, the best ones; 0 passes on all. Nodes beyond the limit are in no list
            of the result, so that kube-scheduler takes them neither for candidates nor for refused.
        turn: any number, such as a hash of the pod's UID. Of equally good nodes, of which the limit allows only some,
            it decides with which one the choice begins, so that pods take turns over all of them.
        on_their_way: other pods that may be about to be bound. Nodes where they could take the GPUs that a hard wish
            of this pod needs are left out; where no others remain, they are refused.
    """
    if request.is_empty:
        return FilterResult(passed=names)
    judged = judge(ledger, request, names)
    hard = request.wishes.are_hard
    tiers = [tier.names for tier in judged.tiers]
    if not hard:
        tiers.extend(nodes for _, nodes in judged.unknown)
    tiers.extend(judged.suspect)
    able = sum(map(len, tiers))
    sure = _sure(ledger, request, tiers, on_their_way) if hard else tiers
    passed = _best(sure, limit or able, turn)
    waiting = {} if passed else {name: _WAITS for tier in tiers for name in tier}
    left_out = {name: reason for reason, nodes in judged.left_out for name in nodes}
    return FilterResult(
        passed=passed,
        failed=_reasons(judged, unresolvable=False) | (_unknown_reasons(judged) if hard else {}),
        unresolvable=_reasons(judged, unresolvable=True) | left_out | waiting,
        left_out=able - len(passed) - len(waiting),
        refusals=_kinds(judged, hard=hard) + Counter({PODS_ON_THEIR_WAY: len(waiting)}),
        best=judged.best,
    )


def _sure(
    ledger: Ledger, request: GpuRequest, tiers: Sequence[Sequence[str]], on_their_way: Sequence[Traveller]
) -> list[list[str]]:
    """Those of the nodes where a hard wish is kept whatever becomes of pods of which it is not known what they take."""
    in_question = ledger.unsettled.union(*(traveller.nodes for traveller in on_their_way))

    def is_sure(name: str) -> bool:
        book = ledger.book(name)
        coming = [traveller.request for traveller in on_their_way if name in traveller.nodes]
        return book is None or holds(book, request, coming)

    return [[name for name in tier if name not in in_question or is_sure(name)] for tier in tiers]


def _best(tiers: Sequence[Sequence[str]], limit: int, turn: int) -> list[str]:
    """The first `limit` nodes of the tiers, best tier first; of a tier that does not fit, the next in turn."""
    best: list[str] = []
    for tier in tiers:
        room = limit - len(best)
        in_order = sorted(tier)
        if len(tier) > room:
            start = turn % len(tier)
            return best + [*in_order[start:], *in_order[:start]][:room]
        best.extend(in_order)
    return best


def _reasons(judged: Judged, *, unresolvable: bool) -> dict[str, str]:
    return {
        name: refusal.message
        for refusal, nodes in judged.refused
        if _is_unresolvable(refusal) is unresolvable
        for name in nodes
    }


def _is_unresolvable(refusal: Refusal) -> bool:
    return refusal.unresolvable or refusal.kind is not RefusalKind.TOO_FEW_FREE


def _unknown_reasons(judged: Judged) -> dict[str, str]:
    return {name: f"topology unknown: {problem}" for problem, nodes in judged.unknown for name in nodes}


def _kinds(judged: Judged, *, hard: bool) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for refusal, nodes in judged.refused:
        kinds[str(refusal.kind)] += len(nodes)
    if hard:
        kinds[TOPOLOGY_UNKNOWN] += sum(len(nodes) for _, nodes in judged.unknown)
    kinds[FAILING_NODE] += sum(len(nodes) for _, nodes in judged.left_out)
    return +kinds
