"""Parts of GPUs among the devices of a kubelet, counted per resource and GPU. Pure.

The ids are those of NVIDIA's device plugin (k8s-device-plugin v0.18): a MIG device has its UUID, "MIG-...", and a
replica that of what is shared and a number, "GPU-...::3" or "MIG-...::3". Where replicas are not renamed, and where all
GPUs of a node are cut alike (the strategy `single`), they go under the resource of whole GPUs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gpu_topology.request import GPU_RESOURCE
from gpu_topology.slices import SliceHolder, SlicePool
from topology_agent.kubelet.listing import ContainerListing, Listing, Slice

_MIG: Final = "MIG-"
_REPLICA: Final = "::"


def uuid_of(device: str) -> str:
    """The UUID of a device, or of what it is a replica of."""
    return device.split(_REPLICA, 1)[0]


def is_part(device: str) -> bool:
    """Whether a device under the resource of whole GPUs is a part of one."""
    return device.startswith(_MIG) or _REPLICA in device


def pools_of(listing: Listing, holding: Iterable[ContainerListing], gpu_of: Mapping[str, int]) -> tuple[SlicePool, ...]:
    """The slices of the node. One that is held counts even if it is not healthy; it is only not free.

    Args:
        listing: what the kubelet tells.
        holding: the containers that are believed to hold devices.
        gpu_of: UUID of a GPU or a MIG device to the index of the GPU.
    """
    held = {part for entry in holding for part in _parts(entry.devices, entry.slices)}
    every = held.union(_parts(listing.allocatable, listing.allocatable_slices))
    total = Counter(_pool_of(part, gpu_of) for part in every)
    taken = Counter(_pool_of(part, gpu_of) for part in held)
    return tuple(SlicePool(*pool, total[pool], total[pool] - taken[pool]) for pool in sorted(total, key=_order))


def holders_of(holding: Iterable[ContainerListing], gpu_of: Mapping[str, int]) -> tuple[SliceHolder, ...]:
    """Who has how many slices of which pool; the arguments are as for `pools_of`."""
    return tuple(
        SliceHolder(entry.pod, entry.container, *pool, count)
        for entry in holding
        for pool, count in Counter(_pool_of(part, gpu_of) for part in _parts(entry.devices, entry.slices)).items()
    )


def _parts(devices: Iterable[str], slices: Iterable[Slice]) -> Iterator[Slice]:
    yield from (Slice(GPU_RESOURCE, device) for device in devices if is_part(device))
    yield from slices


def _pool_of(part: Slice, gpu_of: Mapping[str, int]) -> tuple[str, int | None]:
    return part.resource, gpu_of.get(uuid_of(part.device))


def _order(pool: tuple[str, int | None]) -> tuple[str, bool, int]:
    """By resource and GPU, the unknown GPU last."""
    resource, gpu = pool
    return resource, gpu is None, gpu or 0
