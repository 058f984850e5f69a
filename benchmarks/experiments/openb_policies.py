"""The policies of FGD's experiment, for pods that ask for whole GPUs (Weng et al., USENIX ATC'23).

They look at cpu and memory besides GPUs, because on this cluster these run out first on some nodes. Ties go to the
first node in the trace, which decides much: with random ties the paper's FGD leaves twice as many GPUs idle.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpu_topology.request import GpuRequest
from simulator.cluster import Node
from simulator.engine import Choice
from simulator.kube_scheduler import Resources
from simulator.policies.base import Unaware

_Amounts: TypeAlias = NDArray[np.float64]


class DotProduct(Unaware):
    """The node whose free resources have the smallest dot product with the pod's, both as shares of the node's."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        capacity = _amounts([node.capacity for node in nodes])
        wanted = _amounts([resources]) / capacity
        return Choice(nodes[int(np.argmin((_free(nodes) / capacity * wanted).sum(axis=1)))])


class BestFitOfAll(Unaware):
    """The node that has least left of all resources afterwards, as shares of the largest node."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        largest = _amounts([node.capacity for node in nodes]).max(axis=0)
        return Choice(nodes[int(np.argmin((_free(nodes) / largest).sum(axis=1)))])


class Packing(Unaware):
    """Nodes that have pods already, before idle ones; of those the one with the fewest free GPUs."""

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        return Choice(min(nodes, key=lambda node: (node.requested.gpus == 0, node.free_gpus)))


class GradientDescent(Unaware):
    """FGD: the node whose fragmentation grows least, by the pods that are typical of the trace.

    A node's fragmentation is the number of its free GPUs that a pod cannot use, because GPUs, cpu or memory of the node
    do not suffice for it, averaged over the trace's pods.

    Args:
        seed: not used: nothing is random here.
        pods: of the trace.
    """

    def __init__(self, seed: int, pods: Sequence[Resources]) -> None:
        super().__init__(seed)
        counts = Counter(pods)
        self._typical = _amounts(list(counts))
        self._weights = np.array(list(counts.values()), dtype=np.float64) / len(pods)

    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:  # noqa: ARG002  of the protocol
        """See `Unaware`."""
        free = _free(nodes)
        states, where = np.unique(free, axis=0, return_inverse=True)
        growth = self._fragmentation(states - _amounts([resources])) - self._fragmentation(states)
        return Choice(nodes[int(np.argmin(np.round(growth, 9)[where.reshape(-1)]))])

    def _fragmentation(self, free: _Amounts) -> _Amounts:
        fits = (free[:, np.newaxis, :] >= self._typical).all(axis=2)
        useless: _Amounts = (~fits * self._weights).sum(axis=1) * free[:, _GPUS]
        return useless


_GPUS = 2


def _free(nodes: Sequence[Node]) -> _Amounts:
    return _amounts([node.capacity for node in nodes]) - _amounts([node.requested for node in nodes])


def _amounts(resources: Sequence[Resources]) -> _Amounts:
    """One row for each: cpu, memory, GPUs."""
    return np.array([(found.cpu_millis, found.memory_mib, found.gpus) for found in resources], dtype=np.float64)
