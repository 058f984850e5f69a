"""Which GPUs of a node are free and who holds the others: what the kubelet, or a simulated node, knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gpu_topology.contract import Holder
from gpu_topology.slices import SliceHolder, SlicePool


@dataclass(frozen=True, slots=True)
class Occupancy:
    """The part of a `gpu_topology.contract.NodeState` that changes with every pod.

    Attributes:
        free: whole GPUs that a pod could get, in order; None where unknown. None is not the empty set.
        held: containers and the whole GPUs that they have.
        unhealthy: GPU to the reason, for a person to read.
        stale: why this may no longer be true, or None while it is up to date.
        slices: the parts of the GPUs that are cut or shared, those of unhealthy GPUs among them; None where unknown.
        held_slices: containers and the slices that they have.
    """

    free: tuple[int, ...] | None
    held: tuple[Holder, ...] = ()
    unhealthy: Mapping[int, str] = field(default_factory=dict)
    stale: str | None = None
    slices: tuple[SlicePool, ...] | None = None
    held_slices: tuple[SliceHolder, ...] = ()

    @property
    def usable_slices(self) -> tuple[SlicePool, ...] | None:
        """The slices, none of an unhealthy GPU free."""
        if self.slices is None:
            return None
        return tuple(replace(pool, free=0) if pool.gpu in self.unhealthy else pool for pool in self.slices)
