"""Whether a node can serve a pod, and what the pod would get there."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gpu_topology.contract import Allocation
from gpu_topology.errors import PlacementError
from gpu_topology.placement.choose import ContainerShape, Devices, choose, communication_of, pod_worth
from gpu_topology.placement.leftover import DEFAULT_DEMAND, Demand
from gpu_topology.placement.masks import gpus_of
from gpu_topology.placement.refuse import (
    Refusal,
    combination_refusal,
    count_refusal,
    vendor_refusal,
    wish_refusal,
)
from gpu_topology.placement.tables import LinkTables
from gpu_topology.placement.vendor_outcomes import worst_outcome
from gpu_topology.placement.worth import SetWorth
from gpu_topology.request import Communication, GpuRequest, Wishes

_ANSWERS_KEPT: Final = 32768
"""Answers kept, over all kinds of machine: about 1 KiB each."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a pod would get on a node.

    Attributes:
        refusal: why it cannot go there, or None if it can. Where it cannot, the other fields say nothing.
        worth: what its sets are worth together (`gpu_topology.placement.choose.pod_worth`), or the least that they
            can be worth where the vendor's device plugin chooses; None for a pod that asks for no GPU.
        leftover: what taking them does to the node: the value of what is free afterwards minus the value before
            (`LinkTables.leftover`), in GPUs. Never above 0. Of four GPUs that are all linked alike, it costs a little
            more than one to take one, as no four are left.
        containers: for each container its name and the GPUs that it gets, or at worst gets; empty where there are too
            many possibilities.
        predictable: whether exactly these GPUs, or at worst these, are what can happen. Where not, the pod gets at
            least `worth`.
        communication: how much the pod's GPUs talk to each other, which decides how nodes compare.
    """

    refusal: Refusal | None
    worth: SetWorth | None
    leftover: float
    containers: tuple[tuple[str, tuple[int, ...]], ...]
    predictable: bool
    communication: Communication


def assess(  # noqa: PLR0913 - six things that callers name
    tables: LinkTables,
    free: int,
    request: GpuRequest,
    allocation: Allocation,
    demand: Demand = DEFAULT_DEMAND,
    *,
    usable: int | None = None,
) -> Assessment:
    """What a pod would get on a node.

    Answers are kept for all pods that differ in names alone: asking again takes microseconds.

    Args:
        tables: of the node's links.
        free: mask of the free healthy GPUs.
        request: the pod's.
        allocation: who chooses the GPUs inside the node.
        demand: what is expected next.
        usable: mask of the GPUs that would be free if every pod left: healthy and not cordoned. None is all.

    Raises:
        PlacementError: `free` holds GPUs that the node does not have.
    """
    containers = tuple(ContainerShape(container.gpus, container.kind) for container in request.containers)
    usable = tables.graph.everything if usable is None else usable
    answer = _answer(_Question(tables, free, usable, containers, request.wishes, allocation, demand))
    names = (container.name for container in request.containers)
    return Assessment(
        answer.refusal,
        answer.worth,
        answer.leftover,
        tuple(zip(names, answer.sets, strict=False)),
        answer.predictable,
        answer.communication,
    )


def best_bandwidth(tables: LinkTables, gpus: int, request: GpuRequest) -> float | None:
    """GB/s of the best sets that a pod could have of some GPUs, whoever chooses; None where they will not do.

    Args:
        tables: of the node's links.
        gpus: mask of the GPUs.
        request: the pod's.

    Raises:
        PlacementError: `gpus` holds GPUs that the node does not have.
    """
    assessment = assess(tables, gpus, request, Allocation.BEST)
    return None if assessment.refusal or assessment.worth is None else assessment.worth.bandwidth_gbps


@dataclass(frozen=True, slots=True)
class _Question:
    tables: LinkTables
    free: int
    usable: int
    containers: tuple[ContainerShape, ...]
    wishes: Wishes
    allocation: Allocation
    demand: Demand

    @property
    def devices(self) -> Devices:
        return Devices(self.free)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An `Assessment` without names."""

    communication: Communication
    refusal: Refusal | None = None
    worth: SetWorth | None = None
    leftover: float = 0.0
    sets: tuple[tuple[int, ...], ...] = ()
    predictable: bool = True


@lru_cache(maxsize=_ANSWERS_KEPT)
def _answer(asked: _Question) -> _Answer:
    largest = max((container.gpus for container in asked.containers), default=0)
    communication = communication_of(largest, asked.wishes)
    if not 0 <= asked.free <= asked.tables.graph.everything:
        raise PlacementError(f"the free GPUs {asked.free:#b} are not all among the node's {len(asked.tables)}")
    if not asked.containers:
        return _Answer(communication)
    refusal = count_refusal(asked.tables, asked.free, asked.containers, asked.usable) or wish_refusal(
        asked.tables, asked.free, asked.containers, asked.wishes, asked.usable
    )
    if refusal is not None:
        return _Answer(communication, refusal)
    return (_chosen if asked.allocation is Allocation.BEST else _at_worst)(asked, communication)


def _chosen(asked: _Question, communication: Communication) -> _Answer:
    """The answer where the node enforces our choice."""
    tables = asked.tables
    sets = choose(tables, asked.devices, asked.containers, asked.wishes, asked.demand)
    if sets is None:
        return _Answer(communication, combination_refusal(asked.containers))
    devices, predictable = asked.devices, True
    for container, gpus in zip(asked.containers, sets, strict=True):
        predictable &= devices.ranked(container.gpus)
        devices = devices.after(container, gpus)
    return _Answer(
        communication,
        worth=pod_worth(tables, sets),
        leftover=_cost(asked, tables.leftover(devices.free, asked.demand)),
        sets=tuple(gpus_of(gpus) for gpus in sets),
        predictable=predictable,
    )


def _at_worst(asked: _Question, communication: Communication) -> _Answer:
    """The answer where the vendor's device plugin chooses."""
    worst = worst_outcome(asked.tables, asked.devices, asked.containers, asked.demand)
    return _Answer(
        communication,
        refusal=vendor_refusal(asked.tables, worst.options, asked.wishes),
        worth=worst.worth,
        leftover=_cost(asked, worst.leftover),
        sets=tuple(gpus_of(gpus) for gpus in worst.sets),
        predictable=worst.predictable,
    )


def _cost(asked: _Question, after: float) -> float:
    """The change of the leftover's value, in GPUs, rounded so that equal nodes are equal whatever their size."""
    before = asked.tables.leftover(asked.free, asked.demand)
    return round((after - before) * len(asked.tables), 6)
