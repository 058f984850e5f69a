"""kube-scheduler's own scoring, as far as it tells nodes of a GPU cluster apart.

Read in k8s.io/kubernetes v1.36.3, pkg/scheduler/framework/plugins/noderesources. The default profile scores cpu and
memory only: it counts GPUs when it filters and never looks at their links. The other score plugins of the default
profile give every node the same where pods have no affinities, spread constraints or preferences about taints.
"""

from dataclasses import dataclass
from typing import Final

MAX_NODE_SCORE: Final = 100
MAX_EXTENDER_SCORE: Final = 10
EXTENDER_WEIGHT: Final = 9
"""What config/scheduler-config.yaml gives to the extender."""


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of what a node has or a pod asks for."""

    cpu_millis: int
    memory_mib: int
    gpus: int

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.cpu_millis + other.cpu_millis, self.memory_mib + other.memory_mib, self.gpus + other.gpus)

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(self.cpu_millis - other.cpu_millis, self.memory_mib - other.memory_mib, self.gpus - other.gpus)

    def covers(self, other: "Resources") -> bool:
        """Whether each amount is at least the other's."""
        return self.cpu_millis >= other.cpu_millis and self.memory_mib >= other.memory_mib and self.gpus >= other.gpus


NOTHING: Final = Resources(0, 0, 0)


def fits(capacity: Resources, requested: Resources, pod: Resources) -> bool:
    """Whether NodeResourcesFit lets the pod pass on a node on which `requested` is taken."""
    return (capacity - requested).covers(pod)


def default_score(capacity: Resources, requested: Resources, pod: Resources) -> int:
    """The default profile's score of a node: NodeResourcesFit (least allocated) and balanced allocation, weight 1 each.

    Args:
        capacity: what the node has to give.
        requested: what its pods have been promised, without this pod.
        pod: what this pod asks for.
    """
    total = requested + pod
    return _least_allocated(capacity, total) + _balanced(capacity, requested, total)


def total_score(in_tree: int, extender: int, weight: int) -> int:
    """The score by which kube-scheduler chooses: an extender's 0..10 is stretched to 0..100 and weighted.

    (pkg/scheduler/schedule_one.go, prioritizeNodes.)
    """
    return in_tree + extender * weight * (MAX_NODE_SCORE // MAX_EXTENDER_SCORE)


def _least_allocated(capacity: Resources, total: Resources) -> int:
    cpu = (capacity.cpu_millis - total.cpu_millis) * MAX_NODE_SCORE // capacity.cpu_millis
    memory = (capacity.memory_mib - total.memory_mib) * MAX_NODE_SCORE // capacity.memory_mib
    return (cpu + memory) // 2


def _balanced(capacity: Resources, before: Resources, after: Resources) -> int:
    improvement = _balance(capacity, after) - _balance(capacity, before)
    return MAX_NODE_SCORE // 2 + int((MAX_NODE_SCORE // 2 + improvement) / 2)


def _balance(capacity: Resources, total: Resources) -> int:
    cpu = min(total.cpu_millis / capacity.cpu_millis, 1.0)
    memory = min(total.memory_mib / capacity.memory_mib, 1.0)
    return int((1 - abs(cpu - memory) / 2) * MAX_NODE_SCORE)
