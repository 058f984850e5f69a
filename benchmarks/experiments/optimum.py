"""How far from the best possible: small cases, against an exact search over every placement that there is.

A case is a cluster of a few nodes and the pods that arrive one after the other; none leaves, all fit. The policies see
one pod at a time; the optimum knows all of them beforehand, which no scheduler can. What is compared is the bandwidth
that the pods with several GPUs get together: a policy's total over the optimum's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from random import Random
from statistics import fmean
from typing import Final

import numpy as np
from rich.table import Table

from gpu_topology.placement import LinkTables, tables_of
from simulator.cluster import Cluster, resources_of
from simulator.jobs import pod_of
from simulator.policies import POLICIES
from topology_agent.profiles import load_machine

CLUSTERS: Final = (("dgx-1v",), ("dgx-1v", "pcie-8"), ("hgx-h100", "dgx-1v"), ("bridged-pairs-8", "a6000-pairs-8"))
"""The machines of each cluster of the cases."""
CASES: Final = 10
"""For each cluster."""
_SIZES: Final = (1, 2, 2, 3, 4)
"""From which the pods' GPUs are drawn."""


@dataclass(frozen=True, slots=True)
class Case:
    """Machines, and the sizes of the pods in the order of arrival."""

    machines: tuple[str, ...]
    pods: tuple[int, ...]


def cases(seed: int = 1) -> list[Case]:
    """Random cases in which some three quarters of the GPUs are asked for."""
    chooser = Random(f"optimum/{seed}")
    return [Case(machines, _pods(machines, chooser)) for machines, _ in product(CLUSTERS, range(CASES))]


def optimum(case: Case) -> float:
    """The largest total bandwidth that any placement of all pods gives, GB/s: by dynamic programming over free GPUs."""
    tables = [tables_of(load_machine(name)) for name in case.machines]
    pods = tuple(sorted(case.pods, reverse=True))

    @cache
    def best(free: tuple[int, ...], number: int) -> float:
        if number == len(pods):
            return 0.0
        return max(
            (
                gain + best((*free[:node], left, *free[node + 1 :]), number + 1)
                for node, table in enumerate(tables)
                for gain, left in _moves(table, free[node], pods[number])
            ),
            default=-np.inf,
        )

    return best(tuple(table.graph.everything for table in tables), 0)


def reached(case: Case, policy: str, seed: int) -> float:
    """The total bandwidth under a policy, GB/s; a pod that finds no room has none."""
    entry = POLICIES[policy]
    machines = {f"{number}-{name}": load_machine(name) for number, name in enumerate(case.machines)}
    cluster, scheduler, total = Cluster.of(machines, entry.allocator(seed)), entry.make(seed), 0.0
    for number, gpus in enumerate(case.pods):
        name, request = f"pod-{number}", pod_of(gpus)
        resources = resources_of(request)
        choice = scheduler.choose(cluster, name, request, resources)
        if choice is not None:
            held = cluster.bind(name, choice.node, request, resources, choice.gpus)
            scheduler.bound(name, request, held)
            total += held.bandwidth_gbps
    return total


def measure(seed: int = 1) -> dict[str, dict[str, float]]:
    """Policy to its share of the optimum over all cases, in the worst case, and for each cluster by its machines."""
    found = cases(seed)
    best = [optimum(case) for case in found]
    return {policy: _shares(policy, found, best, seed) for policy in POLICIES}


def table(figures: Mapping[str, Mapping[str, float]]) -> Table:
    """The figures for a person."""
    columns = next(iter(figures.values()))
    result = Table("policy", *columns, title="Bandwidth, % of the offline optimum")
    for policy, row in figures.items():
        result.add_row(policy, *(f"{100 * row[column]:.1f}" for column in columns))
    return result


def _shares(policy: str, found: Sequence[Case], best: Sequence[float], seed: int) -> dict[str, float]:
    shares = [reached(case, policy, seed) / most for case, most in zip(found, best, strict=True)]
    by_cluster = {
        " + ".join(machines): [share for case, share in zip(found, shares, strict=True) if case.machines == machines]
        for machines in CLUSTERS
    }
    return {
        "share_mean": round(fmean(shares), 5),
        "share_worst": round(min(shares), 5),
        **{name: round(fmean(of_cluster), 5) for name, of_cluster in by_cluster.items()},
    }


def _pods(machines: Sequence[str], chooser: Random) -> tuple[int, ...]:
    """Pods that fit together however they are placed: three GPUs of each node stay free."""
    room = sum(len(load_machine(name)) - 2 for name in machines)
    pods: list[int] = [2]
    while sum(pods) < room:
        pods.append(chooser.choice([size for size in _SIZES if size <= room - sum(pods)]))
    return tuple(chooser.sample(pods, len(pods)))


@cache
def _moves(tables: LinkTables, free: int, size: int) -> tuple[tuple[float, int], ...]:
    """What each set of a size gives, and what it leaves free; of sets that leave the same, there is one."""
    if free.bit_count() < size:
        return ()
    return tuple((tables.worth(gpus).bandwidth_gbps, free & ~gpus) for gpus in tables.candidates(free, size).tolist())
