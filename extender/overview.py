"""The whole cluster at a glance: every node with its GPUs, how they are linked, and which pods have them. Pure.

Every field is described in docs/http-api.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from extender.account import account_of_standing
from extender.book import NodeBook
from extender.findings import Basis, basis_of
from extender.groups import Situation
from extender.ledger import Ledger
from extender.pods import BoundPod
from gpu_topology.contract import NodeState
from gpu_topology.cordon import CORDONED
from gpu_topology.kind import MachineKind
from gpu_topology.placement import LinkTables, gpus_of, mask_of
from gpu_topology.slices import SlicePool

REPORTED: Final = "reported"
"""Which GPUs a pod has is known from the agent's report; what else it may rest on is an `extender.findings.Basis`."""
BASES: Final = (REPORTED, *Basis)

TYPICAL_SIZES: Final = (2, 4, 8, 16)
"""Sizes of which the best free set is named."""

_SETS_KEPT: Final = 32768
"""Best sets that are remembered: of 5,000 busy nodes of a few kinds many have the same GPUs free."""


class GpuState(StrEnum):
    """What can be said of a GPU."""

    FREE = "free"
    HELD = "held"
    """A pod has it, or is expected to; or the agent says that it is not free, and not who has it."""
    SLICED = "sliced"
    """It is cut into MIG devices or shared, and so no whole GPU."""
    UNHEALTHY = "unhealthy"
    CORDONED = "cordoned"


def overview_of(ledger: Ledger) -> dict[str, Any]:
    """All nodes of the books, in alphabetical order, and the kinds of machine that they name, as JSON."""
    names = ledger.nodes
    return {"nodes": [node_overview(ledger, name) for name in names], "topologies": topologies_of(ledger, names)}


def topologies_of(ledger: Ledger, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Key to description of every kind of machine among these nodes."""
    machines = (book.report.machine for name in names if (book := ledger.book(name)) is not None)
    kinds = {machine.kind.key: machine.kind for machine in machines if machine is not None}
    return {key: kind_overview(kind) for key, kind in sorted(kinds.items())}


def kind_overview(kind: MachineKind) -> dict[str, Any]:
    """What the machines of a kind have in common, as JSON: their GPUs and the link of every pair."""
    gpus = zip(kind.products, kind.memory_mib, kind.numa_nodes, strict=True)
    return {
        "interconnect": kind.interconnect,
        "gpus": [{"product": product, "memory_mib": mib, "numa_node": numa} for product, mib, numa in gpus],
        "links": [
            {
                "gpus": [link.first, link.second],
                "kind": link.kind,
                "token": link.token,
                "bandwidth_gbps": link.bandwidth_gbps,
            }
            for link in kind.links
        ],
    }


def node_overview(ledger: Ledger, name: str) -> dict[str, Any] | None:
    """A node as JSON: what is known of it, its GPUs, and the pods that have them; None if there is no such node."""
    book = ledger.book(name)
    if book is None:
        return None
    report = book.report
    situation = book.group if isinstance(book.group, Situation) else None
    machine, state = (report.machine, report.state) if situation else (None, None)
    return {
        "name": name,
        "topology": machine.kind.key if machine else None,
        "clique": machine.clique if machine else None,
        "knowledge": book.knowledge,
        "problem": book.problem,
        **account_of_standing(ledger, name),
        "sequence": state.sequence if state else None,
        "allocation": state.allocation if state else None,
        "allocatable": report.allocatable,
        "free": situation.free.bit_count() if situation else None,
        "usable": situation.usable.bit_count() if situation else None,
        "best_sets": _best_sets(situation) if situation else None,
        "gpus": _gpus(book, situation, state, machine.uuids) if situation and state and machine else None,
        "slices": [_slices(pool) for pool in situation.slices or () if pool.gpu is None] if situation else None,
        "pods": _pods(book, ledger.pods_on(name)),
    }


def _best_sets(situation: Situation) -> list[dict[str, Any]]:
    """The best set of free GPUs of each typical size, and all of them together, in the order of size."""
    free = situation.free.bit_count()
    sizes = sorted({size for size in (*TYPICAL_SIZES, free) if 1 < size <= free})
    found = (_best(situation.tables, situation.free, size) for size in sizes)
    return [{"gpus": gpus, "bandwidth_gbps": gbps} for gpus, gbps in found]


@lru_cache(maxsize=_SETS_KEPT)
def _best(tables: LinkTables, free: int, size: int) -> tuple[tuple[int, ...], float]:
    """The GPUs of the set of this size that is worth most, and its GB/s."""
    sets = tables.candidates(free, size)
    best = int(sets[int(tables.order(sets).argmax())])
    return gpus_of(best), tables.worth(best).bandwidth_gbps


def _gpus(book: NodeBook, situation: Situation, state: NodeState, uuids: Sequence[str | None]) -> list[dict[str, Any]]:
    reported = {gpu: holder.pod for holder in state.held for gpu in holder.gpus}
    expected = {gpu: pod for pod, mask in book.expected.items() for gpu in gpus_of(mask)}
    parts = {gpu: [_slices(pool) for pool in situation.slices or () if pool.gpu == gpu] for gpu in range(len(uuids))}
    gpus = []
    for index, uuid in enumerate(uuids):
        pod = reported.get(index) or expected.get(index)
        gpu: dict[str, Any] = {
            "index": index,
            "uuid": uuid,
            "state": _state(index, situation, state, parts),
            "reason": state.unhealthy.get(index),
            "pod": pod,
            "basis": REPORTED if index in reported else basis_of(book, pod) if pod else None,
            "slices": parts[index],
        }
        gpus.append(gpu)
    return gpus


def _state(gpu: int, situation: Situation, state: NodeState, parts: Mapping[int, Sequence[object]]) -> GpuState:
    if gpu in state.unhealthy:
        return GpuState.CORDONED if state.unhealthy[gpu] == CORDONED else GpuState.UNHEALTHY
    if parts[gpu]:
        return GpuState.SLICED
    return GpuState.FREE if situation.free >> gpu & 1 else GpuState.HELD


def _slices(pool: SlicePool) -> dict[str, Any]:
    return {"resource": pool.resource, "total": pool.total, "free": pool.free}


def _pods(book: NodeBook, bound: Sequence[BoundPod]) -> list[dict[str, Any]]:
    """The pods that have GPUs of the node or are expected to, in alphabetical order."""
    state = book.report.state if isinstance(book.group, Situation) else None
    gpus: dict[str, int] = dict(book.expected)
    slices: dict[str, dict[str, int]] = {pod: dict(counts) for pod, counts in book.expected_slices.items()}
    for holder in state.held if state else ():
        gpus[holder.pod] = gpus.get(holder.pod, 0) | mask_of(holder.gpus)
    for part in state.held_slices if state else ():
        own = slices.setdefault(part.pod, {})
        own[part.resource] = own.get(part.resource, 0) + part.count
    asking = {pod.identity.key: pod for pod in bound}
    return [
        _pod(book, pod, asking.get(pod), gpus.get(pod, 0), slices.get(pod, {}))
        for pod in sorted({*gpus, *slices, *asking})
    ]


def _pod(book: NodeBook, pod: str, bound: BoundPod | None, gpus: int, slices: Mapping[str, int]) -> dict[str, Any]:
    tables = book.group.tables if isinstance(book.group, Situation) else None
    return {
        "pod": pod,
        "asks_for": bound.request.total if bound else None,
        "scheduled_at": (bound.scheduled_at or None) if bound else None,
        "gpus": gpus_of(gpus) if tables else None,
        **_bandwidths(tables, gpus),
        "basis": _basis(book, pod) if gpus or slices else None,
        "slices": slices,
        "claimed": bound.claim.request.total if bound and bound.claim else 0,
    }


def _bandwidths(tables: LinkTables | None, gpus: int) -> dict[str, float | None]:
    """GB/s of a pod's GPUs, and of the best set of so many on an empty machine; null for fewer than two."""
    if tables is None or gpus.bit_count() < 2:  # noqa: PLR2004  a link has two ends
        return {"bandwidth_gbps": None, "best_bandwidth_gbps": None}
    _, best = _best(tables, tables.graph.everything, gpus.bit_count())
    return {"bandwidth_gbps": tables.worth(gpus).bandwidth_gbps, "best_bandwidth_gbps": best}


def _basis(book: NodeBook, pod: str) -> str:
    """What a pod's GPUs or slices are known from; where some of them are only expected, what that rests on."""
    return basis_of(book, pod) if pod in book.expected or pod in book.expected_slices else REPORTED
