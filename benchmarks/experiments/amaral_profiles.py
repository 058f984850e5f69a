"""The machine, the jobs and the measured execution times of Amaral et al. (SC'17)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

from benchmarks.experiments.published import rows_of
from gpu_topology.links import PcieAncestor
from gpu_topology.placement import gpus_of
from gpu_topology.topology import Gpu, NodeTopology
from simulator.cluster import Held
from simulator.jobs import Job, pod_of

GPUS: Final = 4
_PER_SOCKET: Final = 2
_NVLINKS: Final = 2


class Program(NamedTuple):
    """What a job trains.

    Attributes:
        net: the network, "alexnet" or "googlenet".
        batch: images for each GPU and iteration.
    """

    net: str
    batch: int
    gpus: int


@dataclass(frozen=True, slots=True)
class Times:
    """Measured execution times.

    Attributes:
        within_s: with as few sockets as the number of GPUs allows.
        across_s: of two GPUs, in different sockets; None for other numbers.
    """

    within_s: float
    across_s: float | None


def minsky() -> NodeTopology:
    """IBM Minsky: two sockets, each with two P100s that two NVLinks join."""

    def same(first: int, second: int) -> bool:
        return first // _PER_SOCKET == second // _PER_SOCKET

    def row(first: int) -> tuple[PcieAncestor | None, ...]:
        return tuple(
            None if first == second else PcieAncestor.PHB if same(first, second) else PcieAncestor.SYS
            for second in range(GPUS)
        )

    return NodeTopology(
        gpus=tuple(Gpu(product="Tesla P100-SXM2-16GB", numa_node=gpu // _PER_SOCKET) for gpu in range(GPUS)),
        pcie=tuple(row(gpu) for gpu in range(GPUS)),
        nvlinks=tuple(tuple(_NVLINKS if i != j and same(i, j) else 0 for j in range(GPUS)) for i in range(GPUS)),
        nvswitch=False,
    )


def measured_times() -> dict[Program, Times]:
    """The execution times of jobs that had a machine to themselves.

    Raises:
        SettingsError: the published data are not there.
    """
    return {
        Program(row["net"], int(row["batch"]), int(row["gpus"])): Times(
            float(row["intra_s"]), float(row["inter_s"]) or None
        )
        for row in rows_of("amaral_profile_solo.csv")
    }


def published_jobs(repeated: int) -> tuple[list[Job], dict[str, Program]]:
    """The published 1,000 jobs, several times one after the other, and the program of each by name.

    Raises:
        SettingsError: the published data are not there.
    """
    rows = rows_of("amaral_jobs_1000.csv")
    span = float(rows[-1]["arrival_s"])
    jobs: list[Job] = []
    programs: dict[str, Program] = {}
    for turn, row in product(range(repeated), rows):
        job = Job(f"{turn}-{row['id']}", turn * span + float(row["arrival_s"]), 0.0, (pod_of(int(row["gpus"])),))
        jobs.append(job)
        programs[job.name] = Program(row["net"], int(row["batch"]), int(row["gpus"]))
    return jobs, programs


class MeasuredRuntime:
    """Runtimes as measured. Jobs on the same machine do not slow one another down: only links count.

    Args:
        times: of each program.
        programs: of each job, by name.
    """

    def __init__(self, times: Mapping[Program, Times], programs: Mapping[str, Program]) -> None:
        self._times = times
        self._programs = programs

    def __call__(self, job: Job, held: Sequence[Held]) -> float:
        """See `simulator.engine.Runtime`."""
        times = self._times[self._programs[job.name]]
        return times.within_s if times.across_s is None or in_one_socket(held[0]) else times.across_s

    def slowdown(self, job: Job, runtime_s: float) -> float:
        """A job's runtime over the one with as few sockets as possible."""
        return runtime_s / self._times[self._programs[job.name]].within_s


def in_one_socket(held: Held) -> bool:
    """Whether all GPUs of a pod are in one socket."""
    return len({gpu // _PER_SOCKET for gpu in gpus_of(held.gpus)}) == 1
