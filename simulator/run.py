"""One run: a workload, a policy and a seed give figures."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gpu_topology.errors import SettingsError
from gpu_topology.topology import NodeTopology
from simulator.cluster import Cluster
from simulator.engine import Outcome, simulate
from simulator.jobs import Job
from simulator.metrics import Figures, Timeline, figures_of
from simulator.policies import POLICIES
from simulator.runtime import SpeedModel


@dataclass(frozen=True, slots=True)
class Run:
    """What came of playing jobs under one policy.

    Attributes:
        figures: the same for the same seed.
        decisions_per_s: pods bound for each second that the program took; differs from run to run.
        timeline: how full the cluster was.
        model: how fast jobs ran.
    """

    policy: str
    seed: int
    figures: Figures
    decisions_per_s: float
    outcomes: Sequence[Outcome]
    timeline: Timeline
    model: SpeedModel


def check_policies(names: Iterable[str]) -> None:
    """Check that there are policies of these names.

    Raises:
        SettingsError: there is none of one of them.
    """
    if unknown := [name for name in names if name not in POLICIES]:
        raise SettingsError(f"there is no policy {unknown[0]!r}: the policies are {', '.join(POLICIES)}")


def run(machines: Mapping[str, NodeTopology], jobs: Sequence[Job], policy: str, seed: int) -> Run:
    """Play jobs under a policy.

    Args:
        machines: node to its topology.
        jobs: in the order of arrival.
        policy: its name.
        seed: of the policy's random choices, the vendor's and the kubelet's.

    Raises:
        SettingsError: no such policy, or no job fits on any node.
    """
    check_policies([policy])
    entry = POLICIES[policy]
    cluster = Cluster.of(machines, entry.allocator(seed))
    model, timeline = SpeedModel(cluster), Timeline()
    started = time.perf_counter()
    outcomes = simulate(cluster, jobs, entry.make(seed), model, timeline)
    elapsed = time.perf_counter() - started
    if not outcomes:
        raise SettingsError("no job fits on any node")
    pods = sum(len(outcome.held) for outcome in outcomes)
    return Run(
        policy,
        seed,
        figures_of(outcomes, timeline, model, left_out=len(jobs) - len(outcomes)),
        pods / elapsed,
        outcomes,
        timeline,
        model,
    )
