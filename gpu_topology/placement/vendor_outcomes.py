"""What a pod gets at worst where the vendor's device plugin chooses, container by container."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpu_topology.placement.choose import ContainerShape, Devices, gpus_needed, pod_worth
from gpu_topology.placement.leftover import Demand
from gpu_topology.placement.masks import Masks
from gpu_topology.placement.tables import LinkTables
from gpu_topology.placement.vendor import predict
from gpu_topology.placement.worth import SetWorth

_MOST_COURSES: Final = 1024
"""How many courses a pod with several containers may take until bounds are given instead."""


@dataclass(frozen=True)
class WorstOutcome:
    """The worst that the device plugin may do to a pod.

    Attributes:
        worth: what the pod gets then, or less where `sets` is empty.
        leftover: the value of what then stays free, or less where `sets` is empty.
        sets: each container's set then; empty where there are too many courses to follow.
        options: for each container every set that it may get.
        predictable: whether all of this can happen; where not, some of it may be impossible.
    """

    worth: SetWorth
    leftover: float
    sets: tuple[int, ...]
    options: tuple[Masks, ...]
    predictable: bool


@dataclass(frozen=True)
class _Course:
    """One way in which the kubelet and the plugin may serve a pod's containers so far."""

    devices: Devices
    sets: tuple[int, ...] = ()
    predictable: bool = True


def worst_outcome(
    tables: LinkTables, devices: Devices, containers: Sequence[ContainerShape], demand: Demand
) -> WorstOutcome:
    """The outcome of least worth, and among equal ones the one that leaves least.

    `devices` must have enough GPUs for all containers.
    """
    if len(containers) == 1:
        return _worst_for_one(tables, devices, containers[0], demand)
    courses = _courses(tables, devices, containers)
    if courses is None:
        return _bound(tables, devices, containers, demand)
    worth, leftover, worst = min(
        (pod_worth(tables, course.sets), tables.leftover(course.devices.free, demand), course.sets)
        for course in courses
    )
    options = tuple(np.unique([course.sets[index] for course in courses]) for index in range(len(containers)))
    return WorstOutcome(worth, leftover, worst, options, all(course.predictable for course in courses))


def _worst_for_one(tables: LinkTables, devices: Devices, container: ContainerShape, demand: Demand) -> WorstOutcome:
    outcomes, predictable = _outcomes(tables, devices, container.gpus)
    leftovers = tables.leftovers(outcomes.dtype.type(devices.free) & ~outcomes, demand)
    worst = np.lexsort((leftovers, tables.order(outcomes)))[0]
    gpus = int(outcomes[worst])
    return WorstOutcome(tables.worth(gpus), float(leftovers[worst]), (gpus,), (outcomes,), predictable)


def _courses(tables: LinkTables, devices: Devices, containers: Sequence[ContainerShape]) -> list[_Course] | None:
    """Every course that serving the pod may take, or None where there are too many."""
    courses = [_Course(devices)]
    for container in containers:
        courses = [after for before in courses for after in _continued(tables, before, container)]
        if len(courses) > _MOST_COURSES:
            return None
    return courses


def _continued(tables: LinkTables, course: _Course, container: ContainerShape) -> list[_Course]:
    outcomes, predictable = _outcomes(tables, course.devices, container.gpus)
    predictable = predictable and course.predictable
    return [
        _Course(course.devices.after(container, gpus), (*course.sets, gpus), predictable) for gpus in outcomes.tolist()
    ]


def _outcomes(tables: LinkTables, devices: Devices, size: int) -> tuple[Masks, bool]:
    """The sets that one container may get, and whether that is exact.

    What an init container had is reused without asking the plugin, which then works around it: not predicted here.
    """
    if devices.reusable:
        options = devices.options(tables, size)
        return options, len(options) == 1
    graph = tables.graph
    prediction = predict(graph.vendor_scores, devices.free, size, highest=graph.highest_vendor_scores)
    if prediction.outcomes:
        return np.array(prediction.outcomes), prediction.predictable
    return tables.candidates(devices.free, size), False


def _bound(tables: LinkTables, devices: Devices, containers: Sequence[ContainerShape], demand: Demand) -> WorstOutcome:
    """As if each container got the worst set of all that is free at the start, whatever the others get."""
    options = tuple(tables.candidates(devices.free, container.gpus) for container in containers)
    worst = [int(sets[tables.order(sets).argmin()]) for sets in options]
    held = tables.candidates(devices.free, gpus_needed(containers))
    worth = pod_worth(tables, worst)._replace(pair_sum_gbps=float(tables.pair_sums(held).min()), locality=0)
    remaining = held.dtype.type(devices.free) & ~held
    return WorstOutcome(worth, float(tables.leftovers(remaining, demand).min()), (), options, predictable=False)
