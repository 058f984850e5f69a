"""What the policies have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

from gpu_topology.request import GpuRequest
from simulator.cluster import Cluster, Held, Node
from simulator.engine import Choice
from simulator.kube_scheduler import Resources


class Comparable(Protocol):
    """What scores are."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether this is the lower score."""


class Unaware(ABC):
    """A policy that looks at the cluster when it is asked, and keeps no books of its own.

    Args:
        seed: of its random choices.
    """

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def choose(self, cluster: Cluster, pod: str, request: GpuRequest, resources: Resources) -> Choice | None:  # noqa: ARG002  of the protocol
        """See `simulator.engine.Policy`."""
        nodes = cluster.feasible(resources)
        return self.choose_from(nodes, request, resources) if nodes else None

    @abstractmethod
    def choose_from(self, nodes: Sequence[Node], request: GpuRequest, resources: Resources) -> Choice:
        """Choose among the nodes that have room, of which there is at least one."""

    def bound(self, pod: str, request: GpuRequest, held: Held) -> None:  # noqa: B027  nothing to keep
        """See `simulator.engine.Policy`."""

    def released(self, pod: str, held: Held) -> None:  # noqa: B027  nothing to keep
        """See `simulator.engine.Policy`."""


def highest(nodes: Sequence[Node], score: Callable[[Node], Comparable], random: Random) -> Node:
    """The node with the highest score, any of them where several have it."""
    scores = [score(node) for node in nodes]
    best: Any = max(scores)
    return random.choice([node for node, found in zip(nodes, scores, strict=True) if found == best])
