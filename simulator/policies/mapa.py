"""MAPA's policies (Ranganath et al., SC'21) on a cluster: they choose the node and its GPUs by the links.

The paper is about one machine. Here the set is the best over all nodes, and among equal ones that of the fullest node.
Its regression for bandwidth knows single and double NVLinks only, so that the bottleneck of the best ring takes its
place. Pods with several GPUs count as bandwidth-sensitive, single GPUs do not; the waiting rule is left out.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from gpu_topology.placement import LinkTables
from gpu_topology.request import GpuRequest
from simulator.cluster import Node
from simulator.engine import Choice
from simulator.kube_scheduler import Resources
from simulator.policies.base import Unaware


class Greedy(Unaware):
    """The set with the largest sum of bandwidth over its pairs."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        node = max(nodes, key=lambda node: (_largest_sum(node.tables, node.free, resources.gpus)[0], -node.free_gpus))
        return Choice(node, _largest_sum(node.tables, node.free, resources.gpus)[1])


class Preserve(Unaware):
    """The best bandwidth for a pod with several GPUs; a single GPU is taken where most bandwidth is left."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        pick = _fastest if resources.gpus > 1 else _preserving
        node = max(nodes, key=lambda node: (pick(node.tables, node.free, resources.gpus)[0], -node.free_gpus))
        return Choice(node, pick(node.tables, node.free, resources.gpus)[1])


@lru_cache(maxsize=65536)
def _largest_sum(tables: LinkTables, free: int, size: int) -> tuple[float, int]:
    sets = tables.candidates(free, size)
    sums = tables.pair_sums(sets)
    best = int(np.argmax(sums))
    return float(sums[best]), int(sets[best])


@lru_cache(maxsize=65536)
def _fastest(tables: LinkTables, free: int, size: int) -> tuple[float, int]:
    sets = tables.candidates(free, size)
    bandwidths = tables.bandwidths(sets)
    best = int(np.argmax(bandwidths))
    return float(bandwidths[best]), int(sets[best])


@lru_cache(maxsize=65536)
def _preserving(tables: LinkTables, free: int, size: int) -> tuple[float, int]:
    """The least loss of bandwidth between free GPUs, as a negative number, and the set that loses it."""
    sets = tables.candidates(free, size)
    whole = float(tables.pair_sums(np.array([free]))[0])
    lost = tables.pair_sums(free & ~sets) - whole
    best = int(np.argmax(lost))
    return float(lost[best]), int(sets[best])
