"""What a kubelet tells of its pods and devices at one moment."""

from dataclasses import dataclass
from typing import NamedTuple


class Slice(NamedTuple):
    """A part of a GPU: a MIG device, or a replica of a shared GPU or MIG device.

    Attributes:
        resource: under which the device plugin offers it.
        device: its id: a MIG device's UUID, or a replica's "<UUID of what is shared>::<number>".
    """

    resource: str
    device: str


@dataclass(frozen=True, slots=True)
class ContainerListing:
    """A container and the GPU devices that it has; none while they are still being allocated.

    Attributes:
        pod: "<namespace>/<name>".
        devices: the ids of those under the resource of whole GPUs.
        slices: those under resources of parts of GPUs.
    """

    pod: str
    container: str
    devices: tuple[str, ...]
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing:
    """What the kubelet told at one moment.

    Attributes:
        containers: all containers of the node, also those that ask for no device: the kubelet does not tell them apart
            from those that wait for theirs.
        allocatable: the ids of the healthy devices under the resource of whole GPUs, held or not.
        incarnation: differs after every restart of the kubelet, which makes its socket anew.
        allocatable_slices: the healthy devices under resources of parts of GPUs, held or not.
    """

    containers: tuple[ContainerListing, ...]
    allocatable: tuple[str, ...]
    incarnation: str
    allocatable_slices: tuple[Slice, ...] = ()
