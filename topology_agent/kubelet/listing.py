"""What a kubelet tells of its pods and devices at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContainerListing:
    """A container and the ids of the GPU devices that it has; none while they are still being allocated.

    Attributes:
        pod: "<namespace>/<name>".
    """

    pod: str
    container: str
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """What the kubelet told at one moment.

    Attributes:
        containers: all containers of the node, also those that ask for no device: the kubelet does not tell them apart
            from those that wait for theirs.
        allocatable: the ids of the healthy GPU devices, held or not.
        incarnation: differs after every restart of the kubelet, which makes its socket anew.
    """

    containers: tuple[ContainerListing, ...]
    allocatable: tuple[str, ...]
    incarnation: str
