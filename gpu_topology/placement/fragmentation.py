"""How much of what is free cannot be used: fragmentation as FGD counts it, for whole GPUs.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX
ATC'23: a node's free GPUs are lost to a request that asks for more than the node has free.
"""

from collections.abc import Mapping
from functools import lru_cache

from gpu_topology.placement.leftover import Demand


@lru_cache(maxsize=4096)
def fragmented(free: int, demand: Demand) -> float:
    """How many of a node's free GPUs the average request cannot use.

    Args:
        free: the node's free GPUs.
        demand: the request sizes expected.
    """
    return sum(share * free for size, share in demand.shares if size > free)


def fragmentation(nodes_by_free: Mapping[int, int], demand: Demand) -> float:
    """The share of a cluster's free GPUs that the average request cannot use, 0 to 1; 0 where none is free.

    Args:
        nodes_by_free: a number of free GPUs to how many nodes have it.
        demand: the request sizes expected.
    """
    free = sum(gpus * nodes for gpus, nodes in nodes_by_free.items())
    lost = sum(fragmented(gpus, demand) * nodes for gpus, nodes in nodes_by_free.items())
    return lost / free if free else 0.0
