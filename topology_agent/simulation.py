"""A node that exists only in the API: its GPUs go to the pods bound to it, as a kubelet would hand them out. Pure.

Which of the free GPUs a pod gets is the allocator's choice: see `topology_agent.allocators`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from uuid import UUID, uuid5

from gpu_topology.contract import Holder
from gpu_topology.errors import PlacementError
from gpu_topology.request import ContainerKind, GpuRequest
from gpu_topology.topology import NodeTopology
from topology_agent.occupancy import Occupancy

_UUID_NAMESPACE: Final = UUID("9c5c2c0a-6a3e-4d0c-8f0b-2f6f1b7c3e55")


def with_uuids(topology: NodeTopology, node: str) -> NodeTopology:
    """The topology with a UUID for every GPU that has none: always the same ones for a node of this name."""
    gpus = (
        gpu if gpu.uuid else replace(gpu, uuid=f"GPU-{uuid5(_UUID_NAMESPACE, f'{node}/{index}')}")
        for index, gpu in enumerate(topology.gpus)
    )
    return replace(topology, gpus=tuple(gpus))


class Allocator(Protocol):
    """Whoever chooses among the free GPUs of a node."""

    def __call__(self, free: frozenset[int], request: GpuRequest) -> Sequence[tuple[int, ...]]:
        """The GPUs of each container of the request, in its order; a later container may get an init container's.

        Raises:
            PlacementError: there are too few.
        """


@dataclass(frozen=True, slots=True)
class BoundPod:
    """A pod that is bound to a node and has not ended.

    Attributes:
        name: "<namespace>/<name>".
        recorded: container to the GPUs that are recorded for it, where the node keeps to such records.
    """

    name: str
    uid: str
    request: GpuRequest
    recorded: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class SimulatedNode:
    """Who has which GPU of a simulated node. A pod keeps what it got until it is released.

    Attributes:
        size: the number of GPUs.
    """

    def __init__(self, size: int, allocator: Allocator) -> None:
        self.size = size
        self._allocator = allocator
        self._held: dict[str, tuple[Holder, ...]] = {}

    @property
    def free(self) -> frozenset[int]:
        """The GPUs that nobody has."""
        return frozenset(range(self.size)) - {gpu for held in self._held.values() for gpus in held for gpu in gpus.gpus}

    @property
    def occupancy(self) -> Occupancy:
        """What there is to publish; in the order in which the pods were bound."""
        return Occupancy(tuple(sorted(self.free)), tuple(holder for held in self._held.values() for holder in held))

    @property
    def pods(self) -> frozenset[str]:
        """The UIDs of the pods that were bound, those included that ask for no GPU or got none."""
        return frozenset(self._held)

    def restore(self, held: Iterable[Holder]) -> None:
        """Take up who had what before a restart, on a node to which nothing was bound yet.

        Raises:
            PlacementError: that cannot be: a GPU is held twice or does not exist, or a pod has no UID.
        """
        for holder in held:
            if holder.pod_uid is None:
                raise PlacementError(f"{holder.pod} holds GPUs, but has no UID to know it by")
            if missing := set(holder.gpus) - self.free:
                raise PlacementError(f"{holder.pod} cannot hold GPU {min(missing)}: it is held already, or not there")
            self._held[holder.pod_uid] = (*self._held.get(holder.pod_uid, ()), holder)

    def bind(self, pod: BoundPod) -> tuple[Holder, ...]:
        """Give a pod its GPUs. One that is bound already keeps what it has.

        Raises:
            PlacementError: too few are free. The pod gets none and is not tried again, as with a kubelet, which fails
                a pod that it cannot admit.
        """
        if pod.uid not in self._held:
            self._held[pod.uid] = ()
            self._held[pod.uid] = self._admit(pod)
        return self._held[pod.uid]

    def release(self, uid: str) -> bool:
        """Take back the GPUs of a pod that has ended or is gone. Returns whether it had any."""
        return bool(self._held.pop(uid, ()))

    def _admit(self, pod: BoundPod) -> tuple[Holder, ...]:
        if not pod.request.containers:
            return ()
        chosen = self._recorded(pod) or self._allocator(self.free, pod.request)
        taken = {gpu for gpus in chosen for gpu in gpus}
        if not taken <= self.free:
            raise PlacementError(f"the allocator gave away GPU {min(taken - self.free)}, which is not free")
        return holders_of(pod, chosen)

    def _recorded(self, pod: BoundPod) -> Sequence[tuple[int, ...]]:
        """The recorded GPUs of each container, where all of them can be had; else nothing."""
        sets = [pod.recorded.get(container.name, ()) for container in pod.request.containers]
        complete = all(len(gpus) == asked.gpus for gpus, asked in zip(sets, pod.request.containers, strict=True))
        return sets if complete and self.free.issuperset(*sets) else ()


def holders_of(pod: BoundPod, chosen: Sequence[tuple[int, ...]]) -> tuple[Holder, ...]:
    """Who holds what once the pod runs: no GPU twice.

    What an init container had belongs to the container that took it over; what none took over stays on the init
    container's name, for the kubelet keeps it for the pod's life.
    """
    shares = dict(zip(pod.request.containers, chosen, strict=True))
    taken: set[int] = set()
    holders = {}
    for container in sorted(shares, key=lambda container: container.kind is ContainerKind.INIT):
        gpus = tuple(gpu for gpu in sorted(shares[container]) if gpu not in taken)
        taken.update(gpus)
        holders[container] = Holder(pod.name, container.name, gpus, pod.uid)
    return tuple(holders[container] for container in shares if holders[container].gpus)
