"""The simulated cluster: nodes, and who has which of their GPUs."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Final, TypeAlias

from gpu_topology.placement import LinkTables, gpus_of, mask_of, tables_of
from gpu_topology.placement.choose import pod_worth
from gpu_topology.request import GpuRequest
from gpu_topology.topology import NodeTopology
from simulator.kube_scheduler import NOTHING, Resources, fits
from topology_agent.simulation import Allocator

AllocatorFactory: TypeAlias = Callable[[str, NodeTopology], Allocator]
"""Makes the allocator of a node: (name, topology) to the allocator."""

CPU_MILLIS_PER_GPU: Final = 16_000
MEMORY_MIB_PER_GPU: Final = 128 * 1024
"""What a node has for each of its GPUs."""
_POD_SHARE: Final = 2
"""A pod asks for half of that, so that its GPUs are what runs out."""


@dataclass(slots=True)
class Node:
    """A node.

    Attributes:
        free: mask of the GPUs that nobody has.
        requested: what its pods have been promised.
    """

    name: str
    topology: NodeTopology
    tables: LinkTables
    capacity: Resources
    free: int
    requested: Resources = NOTHING

    @property
    def free_gpus(self) -> int:
        """How many GPUs nobody has."""
        return self.free.bit_count()


@dataclass(frozen=True, slots=True)
class Held:
    """What a pod got: a set of GPUs for each container that asks for any, in order."""

    node: Node
    sets: tuple[int, ...]
    resources: Resources

    @property
    def gpus(self) -> int:
        """The mask of all GPUs of the pod."""
        return mask_of(gpu for gpus in self.sets for gpu in gpus_of(gpus))

    @property
    def bandwidth_gbps(self) -> float:
        """GB/s of the slowest container's best ring; 0 where each has a single GPU."""
        return pod_worth(self.node.tables, self.sets).bandwidth_gbps


@dataclass
class Cluster:
    """Nodes, and the pods on them.

    Attributes:
        nodes: by name.
        allocators: who hands out each node's GPUs.
        nodes_by_free: a number of free GPUs to how many nodes have it.
    """

    nodes: Mapping[str, Node]
    allocators: Mapping[str, Allocator]
    nodes_by_free: Counter[int] = field(init=False)
    _held: dict[str, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.nodes_by_free = Counter(node.free_gpus for node in self.nodes.values())

    @classmethod
    def of(
        cls,
        machines: Mapping[str, NodeTopology],
        allocator_of: AllocatorFactory,
        capacities: Mapping[str, Resources] = MappingProxyType({}),
    ) -> "Cluster":
        """An empty cluster.

        Args:
            machines: node to its topology.
            allocator_of: makes the nodes' allocators.
            capacities: node to what it has; a node that is left out has so much that GPUs are what runs out.
        """
        nodes = {
            name: Node(
                name,
                machine,
                tables_of(machine),
                capacities.get(name) or _ample(len(machine)),
                mask_of(range(len(machine))),
            )
            for name, machine in machines.items()
        }
        return cls(nodes, {name: allocator_of(name, machine) for name, machine in machines.items()})

    @cached_property
    def gpus(self) -> int:
        """The GPUs of all nodes."""
        return sum(len(node.topology) for node in self.nodes.values())

    @property
    def free_gpus(self) -> int:
        """The GPUs of all nodes that nobody has."""
        return sum(free * nodes for free, nodes in self.nodes_by_free.items())

    def room(self, gpus: int) -> int:
        """How many pods with so many GPUs there are GPUs for."""
        return sum(free // gpus * nodes for free, nodes in self.nodes_by_free.items())

    def feasible(self, pod: Resources) -> list[Node]:
        """The nodes on which kube-scheduler's NodeResourcesFit lets a pod pass."""
        gpus = pod.gpus
        return [
            node
            for node in self.nodes.values()
            if node.requested.gpus + gpus <= node.capacity.gpus and fits(node.capacity, node.requested, pod)
        ]

    def bind(self, pod: str, node: Node, request: GpuRequest, resources: Resources, chosen: int | None = None) -> Held:
        """Give a pod its GPUs.

        Args:
            pod: its name.
            node: where.
            request: what it asks for.
            resources: the same, with cpu and memory.
            chosen: the mask of its GPUs, for a pod with one container; None leaves the choice to the node.

        Raises:
            PlacementError: the node cannot serve it.
        """
        if chosen is None:
            sets = self.allocators[node.name](frozenset(gpus_of(node.free)), request)
            held = Held(node, tuple(mask_of(gpus) for gpus in sets), resources)
        else:
            held = Held(node, (chosen,), resources)
        self._set_free(node, node.free & ~held.gpus)
        node.requested += resources
        self._held[pod] = held
        return held

    def release(self, pod: str) -> Held:
        """Take back what a pod has."""
        held = self._held.pop(pod)
        self._set_free(held.node, held.node.free | held.gpus)
        held.node.requested -= held.resources
        return held

    def kinds(self) -> Iterable[LinkTables]:
        """The tables of each kind of machine once."""
        return {id(node.tables): node.tables for node in self.nodes.values()}.values()

    def _set_free(self, node: Node, free: int) -> None:
        self.nodes_by_free[node.free_gpus] -= 1
        node.free = free
        self.nodes_by_free[node.free_gpus] += 1


@cache
def resources_of(request: GpuRequest) -> Resources:
    """What a pod asks for besides its GPUs where nothing else is said."""
    gpus = request.total
    return Resources(CPU_MILLIS_PER_GPU * gpus // _POD_SHARE, MEMORY_MIB_PER_GPU * gpus // _POD_SHARE, gpus)


def _ample(gpus: int) -> Resources:
    return Resources(CPU_MILLIS_PER_GPU * gpus, MEMORY_MIB_PER_GPU * gpus, gpus)
