"""Why a pod waits: what every node of the books could do for it at this moment, and what was answered about it last."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

from extender.account import account_of_claim
from extender.advice import advice_about
from extender.decisions import REMEMBERED_PODS, Decision, Filtered, Preempted, Prioritized
from extender.filter import FAILING_NODE, TOPOLOGY_UNKNOWN
from extender.groups import Situation
from extender.ledger import Ledger
from extender.pods import BoundPod
from extender.ranking import Judged, judge
from extender.reports import Knowledge
from gpu_topology.placement import Refusal, RefusalKind
from gpu_topology.request import GpuRequest

EXAMPLES: Final = 3
"""Nodes of a group that are named."""


def explanation_of(ledger: Ledger, decision: Decision, now: datetime) -> dict[str, Any]:
    """What stands in the way of a pod, as JSON.

    All nodes of the books are judged, also those that kube-scheduler never asked about. What else it looks at (CPUs,
    memory, taints, affinities) is not judged.

    - `pod`, `uid`, `judged_at`.
    - `asks_for`: `gpus`, the number for each of the `containers`, the number of `slices` by resource, and its wishes.
    - `problem`: why nothing can be decided about it, in a sentence, or null.
    - `bound_to`: the node that it is bound to; null while it waits.
    - `claimed`: what it has there from a DRA driver, as in `extender.account`; null if nothing.
    - `nodes`: how many there are.
    - `able`, `short`, `refused`: groups of nodes that could serve it, that have too few GPUs free, and that have enough
      but refuse it nevertheless. Each group with the number of `nodes`, a few `examples`, the `reason` in words and
      its `kind`, which is null for nodes that could.
    - `best`: the `node` that would serve it best, the GPUs of each of the `containers` there as far as they can be
      told, and their `bandwidth_gbps`; null where no known node could.
    - `advice`: sentences about what would help.
    - `last_filter`, `last_prioritize`, `last_preempt`: what was answered when kube-scheduler asked last; null where it
      has not asked.
    """
    request = decision.request
    names = ledger.nodes
    judged = judge(ledger, request, names) if not request.is_empty else Judged()
    too_small = _too_small(ledger, request, judged)
    judged = replace(judged, unknown=_without(judged.unknown, {name for names in too_small.values() for name in names}))
    bound = _bound(ledger, decision, names)
    return {
        "pod": decision.pod.key,
        "uid": decision.pod.uid,
        "judged_at": _time(now),
        "asks_for": asked_for(request),
        "problem": decision.problem,
        "bound_to": bound.node if bound else None,
        "claimed": account_of_claim(bound.claim) if bound and bound.claim else None,
        "nodes": len(names),
        "able": _able(ledger, request, judged),
        "short": [
            *_refused(ledger, [each for each in judged.refused if each[0].kind is RefusalKind.TOO_FEW_FREE]),
            *(
                _group(nodes, RefusalKind.TOO_FEW_FREE, f"the kubelet offers {offered} GPUs, {request.total} asked for")
                for offered, nodes in too_small.items()
            ),
        ],
        "refused": [
            *_refused(ledger, [each for each in judged.refused if each[0].kind is not RefusalKind.TOO_FEW_FREE]),
            *(_unknown(judged) if request.wishes.are_hard else ()),
            *(_group(nodes, FAILING_NODE, reason) for reason, nodes in judged.left_out),
        ],
        "best": _best(ledger, request, judged.best),
        "advice": advice_about(ledger, request, judged) if not request.is_empty else [],
        "last_filter": _answer(decision.filtered),
        "last_prioritize": _answer(decision.prioritized),
        "last_preempt": _answer(decision.preempted),
    }


def unexplained(pod: str) -> str:
    """Why nothing is known of the pod "<namespace>/<name>", in sentences for a person."""
    return (
        f"the extender remembers no question about {pod}. Either its schedulerName is not gpu-scheduler, or it asks "
        "for no GPU, or kube-scheduler has found something short or forbidden on every node and never asked (see the "
        "pod's events), or the extender was started since, or is the standby, or has been asked about "
        f"{REMEMBERED_PODS} other pods since"
    )


def asked_for(request: GpuRequest) -> dict[str, Any]:
    """What a pod asks for, as JSON."""
    return {
        "gpus": request.total,
        "containers": {container.name: container.gpus for container in request.containers},
        "slices": request.slice_totals,
        "min_bandwidth_gbps": request.wishes.min_bandwidth_gbps,
        "require": request.wishes.require,
        "communication": request.wishes.communication,
    }


def _bound(ledger: Ledger, decision: Decision, names: Iterable[str]) -> BoundPod | None:
    return next((pod for name in names for pod in ledger.pods_on(name) if pod.identity == decision.pod), None)


def _too_small(ledger: Ledger, request: GpuRequest, judged: Judged) -> dict[int, list[str]]:
    """Nodes of which no more is known than that they have too few GPUs for a pod, by how many their kubelet offers.

    kube-scheduler finds that itself, and never asks about them. What a DRA driver hands out is not counted there.
    """
    too_small: defaultdict[int, list[str]] = defaultdict(list)
    for _, nodes in judged.unknown:
        for name in nodes:
            book = ledger.book(name)
            offered = (book.report.allocatable or 0) if book else 0
            if book and book.knowledge is not Knowledge.DRA and offered < request.total:
                too_small[offered].append(name)
    return dict(sorted(too_small.items(), reverse=True))


def _without(groups: Iterable[tuple[str, list[str]]], names: Collection[str]) -> list[tuple[str, list[str]]]:
    """Groups of nodes without some nodes."""
    kept = [(reason, [node for node in nodes if node not in names]) for reason, nodes in groups]
    return [group for group in kept if group[1]]


def _able(ledger: Ledger, request: GpuRequest, judged: Judged) -> list[dict[str, Any]]:
    """The nodes that could serve the pod, best first; those that are unknown last."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for tier in judged.tiers:
        assessment = ledger.expectation(request, min(tier.names))
        bandwidth = assessment.worth.bandwidth_gbps if assessment and assessment.worth else 0.0
        by_reason[f"would reach {bandwidth:g} GB/s" if bandwidth else "could serve it"].extend(tier.names)
    groups = [_group(nodes, None, reason) for reason, nodes in by_reason.items()]
    if not request.wishes.are_hard:
        groups += [_group(nodes, None, f"only where no other can: {problem}") for problem, nodes in judged.unknown]
    doubtful = [node for nodes in judged.suspect for node in nodes]
    groups += [_group([node], None, f"only where no other can: {ledger.standings[node].reason}") for node in doubtful]
    return groups


def _refused(ledger: Ledger, refused: Iterable[tuple[Refusal, Sequence[str]]]) -> list[dict[str, Any]]:
    """Nodes that cannot serve the pod, grouped by the reason; the largest group first."""
    groups: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for refusal, nodes in refused:
        for node in nodes:
            groups[refusal.kind, _reason(ledger, refusal, node)].append(node)
    largest_first = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [_group(nodes, kind, reason) for (kind, reason), nodes in largest_first]


def _reason(ledger: Ledger, refusal: Refusal, node: str) -> str:
    """The refusal's message, with how many GPUs are free if it does not say so itself."""
    book = ledger.book(node)
    if refusal.kind is RefusalKind.TOO_FEW_FREE or book is None or not isinstance(book.group, Situation):
        return refusal.message
    return f"{book.group.free.bit_count()} of {len(book.group.tables)} GPUs free, {refusal.message}"


def _unknown(judged: Judged) -> list[dict[str, Any]]:
    return [_group(nodes, TOPOLOGY_UNKNOWN, f"topology unknown: {problem}") for problem, nodes in judged.unknown]


def _group(nodes: Sequence[str], kind: str | None, reason: str) -> dict[str, Any]:
    return {"nodes": len(nodes), "examples": sorted(nodes)[:EXAMPLES], "kind": kind, "reason": reason}


def _best(ledger: Ledger, request: GpuRequest, node: str | None) -> dict[str, Any] | None:
    assessment = None if node is None else ledger.expectation(request, node)
    if assessment is None or assessment.worth is None:
        return None
    return {
        "node": node,
        "containers": dict(assessment.containers),
        "bandwidth_gbps": assessment.worth.bandwidth_gbps,
        "predictable": assessment.predictable,
    }


def _answer(answer: Filtered | Prioritized | Preempted | None) -> dict[str, Any] | None:
    return None if answer is None else asdict(answer) | {"at": _time(answer.at)}


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
