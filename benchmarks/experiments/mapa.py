"""MAPA's experiment: the effective bandwidth of the sets that bandwidth-sensitive jobs get on one machine.

All jobs are queued at once and are served first come, first served: while the first does not fit, none behind it
starts. With the waiting rule a sensitive job also waits while the best free set has at most 12.335 GB/s, unless the
machine is empty. Ranganath et al., "MAPA: Multi-Accelerator Pattern Allocation Policy for Multi-Tenant GPU Servers",
SC'21; the jobs are five lists of 300, drawn from its distribution.

The effective bandwidth is the paper's regression (gpu_topology.placement.effbw). A few mixes come out oddly in it, for
example a ring of five with two single NVLinks and three PCIe links counts more than one with four double NVLinks.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import mean
from typing import Final, TypeAlias

from rich.table import Table

from benchmarks.experiments.mapa_machines import MACHINES, Job, Machine, job_lists, machine_of
from benchmarks.experiments.mapa_policies import OURS, POLICIES, Policy
from gpu_topology.placement import LinkTables, tables_of

WAITING_GBPS: Final = 12.335
"""A sensitive job waits rather than take a set with no more than this."""
REPLAYED: Final[Mapping[str, Mapping[str, float]]] = {
    "dgx-v": {"baseline": 44.9, "topology-aware": 49.2, "greedy": 57.7, "preserve": 58.6},
    "summit": {"baseline": 39.3, "topology-aware": 43.8, "greedy": 43.8, "preserve": 44.9},
    "torus-2d": {"baseline": 28.1, "topology-aware": 36.6, "greedy": 41.7, "preserve": 44.7},
    "cubeMesh-16": {"baseline": 24.9, "topology-aware": 31.3, "greedy": 41.3, "preserve": 49.1},
}
"""Mean EffBW of the sensitive jobs in a replay with MAPA's own program, ten seeds, GB/s; *preserve* with the waiting
rule."""

Figures: TypeAlias = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Replay:
    """One list of jobs on one machine.

    Attributes:
        bandwidths: GB/s of each sensitive job's set.
        makespan: cycles until the last job has ended.
    """

    bandwidths: tuple[float, ...]
    makespan: int


def replay(machine: Machine, policy: Policy, jobs: Sequence[Job], *, waiting: bool) -> Replay:
    """Serve a list of jobs.

    Args:
        machine: where.
        policy: chooses each job's set.
        jobs: the queue.
        waiting: whether sensitive jobs wait rather than take a slow set.
    """
    tables = tables_of(machine.topology, "effbw")
    now, free = 0, tables.graph.everything
    running: list[tuple[int, int, int]] = []
    numbers = count()
    bandwidths = []
    for job in jobs:
        while running and not _may_start(tables, free, job, waiting=waiting):
            now = running[0][0]
            while running and running[0][0] == now:
                free |= heapq.heappop(running)[2]
        gpus = policy(machine, tables, free, job)
        free &= ~gpus
        heapq.heappush(running, (now + job.cycles, next(numbers), gpus))
        if job.sensitive:
            bandwidths.append(tables.worth(gpus).bandwidth_gbps)
    return Replay(tuple(bandwidths), max(end for end, _, _ in running))


def measure() -> dict[str, Figures]:
    """Machine to policy to figures; our own figures stand beside the policies', in the machine's entry itself.

    `{"dgx-v": {"with_waiting": 58.6, "without_waiting": 58.3, ..., "policies": {"greedy": {...}}}}`; GB/s, and the
    growth of the makespan by the waiting rule in percent.

    Raises:
        SettingsError: the published data are not there.
    """
    lists = job_lists()
    return {name: _measure_machine(machine_of(name), lists) for name in MACHINES}


def table(figures: Mapping[str, Figures]) -> Table:
    """The figures for a person."""
    result = Table("machine", "policy", "EffBW waiting", "EffBW", "makespan grows by", "published", title="MAPA")
    for machine, policies in figures.items():
        for policy, row in policies.items():
            published = REPLAYED.get(machine, {}).get(policy)
            result.add_row(
                machine,
                policy,
                f"{row['with_waiting']:.2f}",
                f"{row['without_waiting']:.2f}",
                f"{row['makespan_growth_percent']:.1f} %",
                "" if published is None else f"{published:.1f}",
            )
    return result


def document(figures: Mapping[str, Figures]) -> dict[str, dict[str, object]]:
    """The figures as JSON: our own at the top of each machine, the other policies' under `policies`."""
    return {
        machine: {**policies[OURS], "policies": {name: row for name, row in policies.items() if name != OURS}}
        for machine, policies in figures.items()
    }


def _measure_machine(machine: Machine, lists: Sequence[Sequence[Job]]) -> Figures:
    return {name: _measure_policy(machine, policy, lists) for name, policy in POLICIES.items()}


def _measure_policy(machine: Machine, policy: Policy, lists: Sequence[Sequence[Job]]) -> dict[str, float]:
    waited = [replay(machine, policy, jobs, waiting=True) for jobs in lists]
    at_once = [replay(machine, policy, jobs, waiting=False) for jobs in lists]
    growth = sum(run.makespan for run in waited) / sum(run.makespan for run in at_once) - 1
    return {
        "with_waiting": round(_mean_bandwidth(waited), 3),
        "without_waiting": round(_mean_bandwidth(at_once), 3),
        "makespan_growth_percent": round(100 * growth, 2),
    }


def _mean_bandwidth(runs: Sequence[Replay]) -> float:
    return mean(bandwidth for run in runs for bandwidth in run.bandwidths)


def _may_start(tables: LinkTables, free: int, job: Job, *, waiting: bool) -> bool:
    if free.bit_count() < job.gpus:
        return False
    if not (waiting and job.sensitive):
        return True
    return bool(tables.bandwidths(tables.candidates(free, job.gpus)).max() > WAITING_GBPS)
