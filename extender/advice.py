"""What would help a pod that no node can serve at this moment."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import floor
from operator import itemgetter

from extender.groups import Situation
from extender.ledger import Ledger
from extender.ranking import Judged, judge
from extender.reports import Knowledge
from gpu_topology.placement import DEFAULT_DEMAND, RefusalKind
from gpu_topology.request import MIN_BANDWIDTH_ANNOTATION, REQUIRE_ANNOTATION, GpuRequest, Require


def advice_about(ledger: Ledger, request: GpuRequest, judged: Judged) -> list[str]:
    """Sentences for a person about what would let a pod be placed.

    Args:
        ledger: the books.
        request: what the pod asks for, at least one GPU or a part of one.
        judged: all nodes, judged for it.
    """
    able = sum(len(tier.names) for tier in judged.tiers) + sum(map(len, judged.suspect))
    if not request.wishes.are_hard:
        able += sum(len(nodes) for _, nodes in judged.unknown)
    if able:
        return [
            f"{_nodes(able)} could serve it: if it waits nevertheless, its events say what else is in the way there"
        ]
    short = _names_of(judged, short=True)
    wishful = _names_of(judged, short=False)
    advice = [*_lower(ledger, request, wishful), *_wait_for_gpus(ledger, request, short)]
    advice += _wait_for_others(ledger, request, wishful)
    failing = [*_see_to_failing(judged)]
    if not advice and not failing:
        advice.append("no node of known topology could serve it, even if it were empty: ask for less")
    return [*advice, *failing, *_no_eviction(wishful), *_report(ledger, judged)]


def _names_of(judged: Judged, *, short: bool) -> list[str]:
    """The nodes that are short of GPUs, or those that have enough but refuse the pod nevertheless."""
    return [
        name
        for refusal, nodes in judged.refused
        if (refusal.kind is RefusalKind.TOO_FEW_FREE) is short
        for name in nodes
    ]


def _lower(ledger: Ledger, request: GpuRequest, names: Sequence[str]) -> Iterator[str]:
    """Which wish to lower: one alone, or if that is not enough, both."""
    slower = replace(request, wishes=replace(request.wishes, min_bandwidth_gbps=0.0))
    anyhow = replace(request, wishes=replace(request.wishes, require=Require.ANY))
    both = replace(slower, wishes=replace(slower.wishes, require=Require.ANY))
    found = [(relaxed, _fastest(ledger, relaxed, names)) for relaxed in (slower, anyhow, both) if relaxed != request]
    alone = [(relaxed, fastest) for relaxed, fastest in found if fastest and relaxed != both]
    for relaxed, fastest in alone or found[-1:]:
        if fastest is not None:
            bandwidth, name = fastest
            yield f"{_changes(request, relaxed, bandwidth)}: {name} could serve it now"


def _fastest(ledger: Ledger, request: GpuRequest, names: Sequence[str]) -> tuple[float, str] | None:
    """The most bandwidth that a node can promise to a pod now, in GB/s, and that node; None if none can serve it."""
    nodes = [min(tier.names) for tier in judge(ledger, request, names).tiers]
    found = [(ledger.expectation(request, name), name) for name in nodes]
    promises = [
        (each.worth.bandwidth_gbps, name) for each, name in found if each is not None and each.worth is not None
    ]
    return max(promises, key=itemgetter(0), default=None)


def _changes(request: GpuRequest, relaxed: GpuRequest, bandwidth: float) -> str:
    """What to change on the pod to go from one request to the other."""
    changes = []
    if relaxed.wishes.min_bandwidth_gbps < request.wishes.min_bandwidth_gbps:
        # Rounded down: at the figure that is named the pod must really fit.
        changes.append(f"lower {MIN_BANDWIDTH_ANNOTATION} to {floor(bandwidth * 10) / 10:g}")
    if relaxed.wishes.require is not request.wishes.require:
        changes.append(f"leave {REQUIRE_ANNOTATION} out")
    return " and ".join(changes)


def _wait_for_gpus(ledger: Ledger, request: GpuRequest, names: Iterable[str]) -> Iterator[str]:
    """Nodes that could serve the pod if enough were free there, and the one that comes nearest."""
    able = _able_when_empty(ledger, request, names)
    if able:
        name, free = max(((name, each.free.bit_count()) for name, each in able.items()), key=itemgetter(1))
        missing = request.total - free
        yield (
            f"wait until {_more_gpus(missing)} free on one node: {name} has {free}"
            if missing > 0
            else f"wait until more slices are free on {_one_of(len(able))}, such as {name}"
        )


def _wait_for_others(ledger: Ledger, request: GpuRequest, names: Iterable[str]) -> Iterator[str]:
    """Nodes that have enough free GPUs, but not the right ones, because others hold those."""
    later = _able_when_empty(ledger, request, names)
    if later:
        yield f"wait until other GPUs are free on {_one_of(len(later))}, such as {min(later)}"


def _no_eviction(names: Sequence[str]) -> Iterator[str]:
    if names:
        yield (
            f"a higher priority does not help on the {_nodes(len(names))} with enough free GPUs: kube-scheduler evicts "
            "pods only where there are too few"
        )


def _see_to_failing(judged: Judged) -> Iterator[str]:
    out = [node for _, nodes in judged.left_out for node in nodes]
    if out:
        yield (
            f"see to the driver, the GPUs and the device plugin on {_nodes(len(out))} where GPU pods keep failing, "
            f"such as {min(out)}; after a pause GPU pods are placed there again"
        )


def _report(ledger: Ledger, judged: Judged) -> Iterator[str]:
    unknown = [node for _, nodes in judged.unknown for node in nodes]
    books = {node: ledger.book(node) for node in unknown}
    by_dra = [node for node, book in books.items() if book and book.knowledge is Knowledge.DRA]
    if by_dra:
        yield (
            f"without its wishes it may go to {_nodes(len(by_dra))} whose GPUs a DRA driver hands out, such as "
            f"{min(by_dra)}; what they must have in common there, a ResourceClaim can say"
        )
    silent = len(unknown) - len(by_dra)
    if silent:
        yield f"see to the agent on {_nodes(silent)} of which too little is known to promise what it requires"


def _able_when_empty(ledger: Ledger, request: GpuRequest, names: Iterable[str]) -> dict[str, Situation]:
    """Those of some nodes that could serve a pod if no other pod were there, with their present situations."""
    books = {name: ledger.book(name) for name in names}
    situations = {name: book.group for name, book in books.items() if book and isinstance(book.group, Situation)}
    able = {situation for situation in set(situations.values()) if _when_empty(situation, request)}
    return {name: situation for name, situation in situations.items() if situation in able}


def _when_empty(situation: Situation, request: GpuRequest) -> bool:
    """Whether a node in this situation could serve the pod if no other pod were there."""
    slices = None if situation.slices is None else tuple(replace(pool, free=pool.total) for pool in situation.slices)
    empty = replace(situation, free=situation.usable, slices=slices)
    return empty.assess(request, DEFAULT_DEMAND).refusal is None


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _one_of(count: int) -> str:
    return "1 node" if count == 1 else f"one of {count} nodes"


def _more_gpus(count: int) -> str:
    return "1 more GPU is" if count == 1 else f"{count} more GPUs are"
