"""Small clusters and jobs to simulate."""

from collections.abc import Sequence

from simulator.cluster import Cluster, Held
from simulator.engine import Outcome, simulate
from simulator.jobs import Job, split
from simulator.policies import POLICIES
from simulator.scenario import Generated, Scenario
from topology_agent.profiles import load_machine


def cluster(*kinds: str, policy: str = "extender-best", seed: int = 1) -> Cluster:
    """An empty cluster with one node of each kind given, named "<number>-<kind>"."""
    machines = {f"{number}-{kind}": load_machine(kind) for number, kind in enumerate(kinds)}
    return Cluster.of(machines, POLICIES[policy].allocator(seed))


def scenario(count: int = 40, load: float | None = 0.9, name: str = "small") -> Scenario:
    """A DGX-1 and eight GPUs on PCIe, with jobs as in the ITP trace."""
    machines = {kind: load_machine(kind) for kind in ("dgx-1v", "pcie-8")}
    return Scenario(name, "a & b", machines, Generated("itp", count), load)


def job(name: str, gpus: int, arrival_s: float = 0.0, duration_s: float = 10.0, largest_pod: int = 8) -> Job:
    """A job that does not communicate."""
    return Job(name, arrival_s, duration_s, split(gpus, largest_pod))


def as_long_as_said(job: Job, _held: Sequence[Held]) -> float:
    """A runtime that no link changes."""
    return job.duration_s


def play(cluster: Cluster, jobs: Sequence[Job], policy: str = "extender-best", seed: int = 1) -> dict[str, Outcome]:
    """Play jobs; outcomes by the job's name."""
    outcomes = simulate(cluster, jobs, POLICIES[policy].make(seed), as_long_as_said)
    return {outcome.job.name: outcome for outcome in outcomes}
