"""The best that any node could give a pod, found by trying everything: slow, simple, and none of the project's code.

Only the bandwidth of a single pair is taken from the model of the node.
"""

from collections.abc import Iterable
from functools import cache
from itertools import combinations, pairwise, permutations

from gpu_topology.topology import NodeTopology


def ring_bandwidth(topology: NodeTopology, gpus: Iterable[int]) -> float:
    """GB/s of the slowest link in the best ring through these GPUs; 0 for a single one."""
    first, *rest = gpus
    if not rest:
        return 0.0
    return max(
        min(topology.bandwidth_gbps(a, b) for a, b in pairwise((first, *order, first))) for order in permutations(rest)
    )


class BruteForce:
    """Tries all sets of a node's free GPUs, and remembers what it found for sets that it has seen."""

    def __init__(self, topologies: dict[str, NodeTopology]) -> None:
        self._topologies = topologies
        self._ring = cache(lambda name, gpus: ring_bandwidth(topologies[name], gpus))

    def best_set(self, node: str, free: Iterable[int], size: int) -> float:
        """GB/s of the best set of this size among a node's free GPUs; -1 where there are too few."""
        sets = combinations(sorted(free), size)
        return max((self._ring(node, gpus) for gpus in sets), default=-1.0)

    def best_nodes(self, free: dict[str, tuple[int, ...]], size: int) -> set[str]:
        """The nodes whose best set is as good as any node's."""
        best = {node: self.best_set(node, gpus, size) for node, gpus in free.items()}
        highest = max(best.values())
        return {node for node, bandwidth in best.items() if bandwidth >= highest - 1e-9}
