"""How nodes hand out GPUs: the agent's own allocators, and a kubelet whom no plugin advises."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from gpu_topology.placement import tables_of
from gpu_topology.placement.vendor import vendor_scores
from gpu_topology.request import GpuRequest
from gpu_topology.topology import NodeTopology
from simulator.cluster import AllocatorFactory
from topology_agent.allocators import BestAllocator, VendorAllocator
from topology_agent.simulation import Allocator


@dataclass(frozen=True, slots=True)
class AnyAllocator:
    """A kubelet that no plugin advises: any of the free GPUs. Init containers are not told apart."""

    random: Random

    def __call__(self, free: frozenset[int], request: GpuRequest) -> Sequence[tuple[int, ...]]:
        """See `topology_agent.simulation.Allocator`."""
        drawn = iter(self.random.sample(sorted(free), sum(container.gpus for container in request.containers)))
        return [tuple(next(drawn) for _ in range(container.gpus)) for container in request.containers]


@dataclass(frozen=True, slots=True)
class LowestAllocator:
    """The free GPUs with the lowest numbers, as in publications that do not look into nodes."""

    def __call__(self, free: frozenset[int], request: GpuRequest) -> Sequence[tuple[int, ...]]:
        """See `topology_agent.simulation.Allocator`."""
        lowest = iter(sorted(free))
        return [tuple(next(lowest) for _ in range(container.gpus)) for container in request.containers]


def lowest_gpus(_name: str, _topology: NodeTopology) -> Allocator:
    """The allocator of a node that takes its GPUs in order."""
    return LowestAllocator()


def any_gpus(seed: int) -> AllocatorFactory:
    """Nodes whose kubelet takes any GPUs."""
    return lambda name, _: AnyAllocator(Random(f"{seed}/{name}"))


def vendor_set(seed: int) -> AllocatorFactory:
    """Nodes whose kubelet asks the vendor's device plugin."""

    def make(name: str, topology: NodeTopology) -> Allocator:
        return VendorAllocator(vendor_scores(topology), Random(f"{seed}/{name}"))

    return make


def best_set(_seed: int) -> AllocatorFactory:
    """Nodes on which this project's choice is enforced."""
    return lambda _, topology: BestAllocator(tables_of(topology))
