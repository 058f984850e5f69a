"""Which GPUs of a node are free and who holds the others: what the kubelet, or a simulated node, knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpu_topology.contract import Holder


@dataclass(frozen=True, slots=True)
class Occupancy:
    """The part of a `gpu_topology.contract.NodeState` that changes with every pod.

    Attributes:
        free: GPUs that a pod could get, in order; None where unknown. None is not the empty set.
        held: containers and the GPUs that they have.
        unhealthy: GPU to the reason, for a person to read.
        stale: why this may no longer be true, or None while it is up to date.
    """

    free: tuple[int, ...] | None
    held: tuple[Holder, ...] = ()
    unhealthy: Mapping[int, str] = field(default_factory=dict)
    stale: str | None = None
