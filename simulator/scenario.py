"""What is simulated: machines, and the jobs that arrive there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gpu_topology.topology import NodeTopology
from simulator.generators import DISTRIBUTIONS, generate, with_communication
from simulator.jobs import Job, read_trace, with_load


class JobSource(Protocol):
    """Where jobs come from."""

    def __call__(self, node_sizes: Sequence[int], seed: int) -> list[Job]:
        """The jobs of one seed, in the order of arrival.

        Args:
            node_sizes: the GPUs of each node of the cluster.
            seed: of all that is drawn.

        Raises:
            SettingsError: there are none, or the cluster cannot hold one of them.
        """


@dataclass(frozen=True, slots=True)
class Generated:
    """Jobs made up at random, others for each seed.

    Attributes:
        distribution: a name in `generators.DISTRIBUTIONS`.
        count: how many.
    """

    distribution: str
    count: int

    def __call__(self, node_sizes: Sequence[int], seed: int) -> list[Job]:
        """See `JobSource`. Sizes that the cluster cannot hold are not drawn."""
        return generate(DISTRIBUTIONS[self.distribution], self.count, node_sizes, seed)


@dataclass(frozen=True, slots=True)
class Traced:
    """The jobs of a trace: the same for each seed, but for how much each communicates.

    Attributes:
        file: see `simulator.jobs`.
    """

    file: Path

    def __call__(self, node_sizes: Sequence[int], seed: int) -> list[Job]:
        """See `JobSource`."""
        return list(with_communication(read_trace(self.file, node_sizes), seed))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cluster and its jobs.

    Attributes:
        name: of a few words at most.
        description: a sentence without its full stop.
        machines: node to its topology.
        source: of the jobs.
        load: GPU-seconds asked for, over those that the cluster has; None leaves arrivals as the source has them.
    """

    name: str
    description: str
    machines: Mapping[str, NodeTopology]
    source: JobSource
    load: float | None = None

    def jobs(self, seed: int) -> list[Job]:
        """The jobs of one seed, in the order of arrival.

        Raises:
            SettingsError: there are none, the cluster cannot hold one of them, or all arrive at once and yet a load is
                asked for.
        """
        sizes = [len(machine) for machine in self.machines.values()]
        jobs = self.source(sizes, seed)
        return jobs if self.load is None else with_load(jobs, self.load, sum(sizes))
