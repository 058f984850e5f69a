"""Policies that count GPUs, cpu and memory, and do not look at links. Their ties are broken by the order of nodes."""

from collections.abc import Sequence

from gpu_topology.placement import DEFAULT_DEMAND, Demand, fragmented
from gpu_topology.request import GpuRequest
from simulator.cluster import Node
from simulator.engine import Choice
from simulator.kube_scheduler import Resources
from simulator.policies.base import Unaware


class RandomNode(Unaware):
    """Any node with room."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        return Choice(self.random.choice(nodes))


class FirstFit(Unaware):
    """The first node with room."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        return Choice(nodes[0])


class BestFit(Unaware):
    """The node with the fewest free GPUs, and of those the first."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        return Choice(min(nodes, key=lambda node: node.free_gpus))


class Fragmentation(Unaware):
    """FGD (Weng et al., USENIX ATC'23) for whole GPUs: the node whose expected fragmentation grows least.

    A node's fragmentation is the number of its free GPUs that a request cannot use because too few are free, averaged
    over the request sizes expected. Of equal nodes the first is taken.
    """

    def __init__(self, seed: int, demand: Demand = DEFAULT_DEMAND) -> None:
        super().__init__(seed)
        self._demand = demand

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        return Choice(min(nodes, key=lambda node: self._growth(node.free_gpus, resources.gpus)))

    def _growth(self, free: int, taken: int) -> float:
        return fragmented(free - taken, self._demand) - fragmented(free, self._demand)
