"""Parts of GPUs, as pods ask for them and nodes count them: MIG devices, and the replicas of shared GPUs.

A GPU in MIG mode is cut into devices, each with a resource of its profile (`nvidia.com/mig-1g.10gb`). A GPU that is
shared by time-slicing or MPS, or a MIG device that is, is offered as several replicas (`nvidia.com/gpu.shared`,
`nvidia.com/mig-1g.10gb.shared`). Where the operator has not told the device plugin to rename them, replicas and the MIG
devices of a node with a single profile go under the name of whole GPUs, `nvidia.com/gpu`.
"""

from dataclasses import dataclass
from typing import Final

_VENDOR: Final = "nvidia.com/"
_MIG: Final = "nvidia.com/mig-"
_SHARED: Final = ".shared"

MAX_SLICES: Final = 10_000
"""More slices of one resource than any GPU has; a bound on what a foreign value can make a reader do."""


def is_slice_resource(resource: str) -> bool:
    """Whether an extended resource is one of parts of GPUs by its name."""
    return resource.startswith(_MIG) or (resource.startswith(_VENDOR) and resource.endswith(_SHARED))


@dataclass(frozen=True, slots=True)
class SlicePool:
    """The slices of one resource on one GPU.

    Attributes:
        resource: such as "nvidia.com/mig-1g.10gb"; "nvidia.com/gpu" for slices that go under this name.
        gpu: its index; None where the GPUs of these slices are not known: one pool of a resource may be of such.
        total: how many there are, free or held.
        free: how many a pod could get.
    """

    resource: str
    gpu: int | None
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class SliceHolder:
    """A container and the slices that it has of one pool.

    Attributes:
        pod: "<namespace>/<name>".
        resource: as in `SlicePool`.
        gpu: as in `SlicePool`.
        count: how many.
        pod_uid: the pod's UID, or None where the source knows pods by name only.
    """

    pod: str
    container: str
    resource: str
    gpu: int | None
    count: int
    pod_uid: str | None = None
