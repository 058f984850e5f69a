"""Topology-awareness of the common kind: keep a pod within one socket, and look no closer."""

from collections.abc import Sequence
from functools import lru_cache

from gpu_topology.placement import gpus_of, mask_of
from gpu_topology.placement.link_graph import LinkGraph
from gpu_topology.request import GpuRequest
from simulator.cluster import Node
from simulator.engine import Choice
from simulator.kube_scheduler import Resources
from simulator.policies.base import Unaware


class Socket(Unaware):
    """A node on which one socket has room, best the socket and then the node with the fewest free GPUs.

    Where no socket has room the pod gets the lowest free GPUs of the node with the fewest. Of equal nodes the first.
    """

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        size = resources.gpus
        found = [(socket, node) for node in nodes if (socket := _tightest(node.tables.graph, node.free, size))]
        if found:
            socket, node = min(found, key=lambda pair: (pair[0].bit_count(), pair[1].free_gpus))
            return Choice(node, _lowest(socket, size))
        node = min(nodes, key=lambda node: node.free_gpus)
        return Choice(node, _lowest(node.free, size))


@lru_cache(maxsize=65536)
def _tightest(graph: LinkGraph, free: int, size: int) -> int:
    """The free GPUs of the socket that has fewest of them, but enough; 0 where none has."""
    rooms = [free & (others | 1 << gpu) for gpu, others in enumerate(graph.same_numa)]
    return min((room for room in rooms if room.bit_count() >= size), key=int.bit_count, default=0)


def _lowest(free: int, size: int) -> int:
    return mask_of(gpus_of(free)[:size])
