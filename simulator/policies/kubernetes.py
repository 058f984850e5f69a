"""kube-scheduler without an extender."""

from collections.abc import Sequence

from gpu_topology.request import GpuRequest
from simulator.cluster import Node
from simulator.engine import Choice
from simulator.kube_scheduler import MAX_NODE_SCORE, Resources, default_score
from simulator.policies.base import Unaware, highest


class LeastAllocated(Unaware):
    """The default profile: spreads by cpu and memory, breaks ties at random."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        return Choice(highest(nodes, lambda node: default_score(node.capacity, node.requested, resources), self.random))


class MostAllocated(Unaware):
    """NodeResourcesFit with the strategy MostAllocated, and nvidia.com/gpu beside cpu and memory: fills nodes up.

    Balanced allocation is left out: it compares cpu with memory, which go with the GPUs here.
    """

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        return Choice(highest(nodes, lambda node: _with_gpus(node, resources), self.random))


def most_allocated(capacity: Resources, requested: Resources, pod: Resources) -> int:
    """NodeResourcesFit's score with the strategy MostAllocated for cpu and memory, its default resources.

    Args:
        capacity: what the node has to give.
        requested: what its pods have been promised, without this pod.
        pod: what this pod asks for.
    """
    total = requested + pod
    cpu = total.cpu_millis * MAX_NODE_SCORE // capacity.cpu_millis
    memory = total.memory_mib * MAX_NODE_SCORE // capacity.memory_mib
    return (cpu + memory) // 2


def _with_gpus(node: Node, resources: Resources) -> int:
    total = node.requested + resources
    gpus = total.gpus * MAX_NODE_SCORE // node.capacity.gpus
    return (2 * most_allocated(node.capacity, node.requested, resources) + gpus) // 3
