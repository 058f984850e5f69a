"""The policies of MAPA's experiment, and this project's: each chooses a job's set among the free GPUs."""

from collections.abc import Mapping
from typing import Final, Protocol

import numpy as np

from benchmarks.experiments.mapa_machines import Job, Machine
from gpu_topology.contract import Allocation
from gpu_topology.placement import Demand, LinkTables, assess, gpus_of, mask_of
from gpu_topology.request import Communication, ContainerRequest, GpuRequest, Wishes

EXPECTED: Final = Demand.of({2: 1, 3: 1, 4: 1, 5: 1})
"""The experiment draws sizes evenly from two to five GPUs."""


class Policy(Protocol):
    """Chooses the set of a job's GPUs, as a mask; at least as many as it asks for are free."""

    def __call__(self, machine: Machine, tables: LinkTables, free: int, job: Job) -> int:
        """The chosen set."""


def first_free(machine: Machine, tables: LinkTables, free: int, job: Job) -> int:  # noqa: ARG001  of the protocol
    """The free GPUs with the lowest numbers."""
    return mask_of(gpus_of(free)[: job.gpus])


def same_root(machine: Machine, tables: LinkTables, free: int, job: Job) -> int:
    """The lowest free GPUs under one PCIe root if it has enough, else the lowest of all."""
    for root in machine.roots:
        if (free & root).bit_count() >= job.gpus:
            return first_free(machine, tables, free & root, job)
    return first_free(machine, tables, free, job)


def greedy(machine: Machine, tables: LinkTables, free: int, job: Job) -> int:
    """The set with the largest sum of bandwidth over its pairs."""
    return _most(machine, tables.candidates(free, job.gpus).tolist())


def preserve(machine: Machine, tables: LinkTables, free: int, job: Job) -> int:
    """MAPA: the best effective bandwidth for a sensitive job; the most bandwidth left over by any other."""
    sets = tables.candidates(free, job.gpus)
    if job.sensitive:
        return int(sets[np.argmax(tables.bandwidths(sets))])
    return free & ~_most(machine, [free & ~gpus for gpus in sets.tolist()])


def ours(machine: Machine, tables: LinkTables, free: int, job: Job) -> int:  # noqa: ARG001  of the protocol
    """This project's placement, told which jobs are sensitive as pods tell it: by their annotation."""
    wishes = Wishes(communication=Communication.HEAVY if job.sensitive else Communication.NONE)
    request = GpuRequest((ContainerRequest("main", job.gpus),), wishes)
    assessment = assess(tables, free, request, Allocation.BEST, EXPECTED)
    return mask_of(gpu for _, gpus in assessment.containers for gpu in gpus)


OURS: Final = "ours"
POLICIES: Final[Mapping[str, Policy]] = {
    "baseline": first_free,
    "topology-aware": same_root,
    "greedy": greedy,
    "preserve": preserve,
    OURS: ours,
}


def _most(machine: Machine, sets: list[int]) -> int:
    """The first of the sets with the largest sum of bandwidth over its pairs."""
    return max(sets, key=lambda gpus: _pair_sum(machine, gpus))


def _pair_sum(machine: Machine, gpus: int) -> float:
    members = gpus_of(gpus)
    return sum(machine.sums[i][j] for i in members for j in members if i < j)
