"""Finds out which container the kubelet is choosing GPUs for, which it does not say. Pure.

The kubelet admits one pod at a time, and lists it with its containers while it serves them one after the other: the
container in question is the first that asks for GPUs and has none yet. (Seen with Kubernetes v1.36: a list made inside
the call named the right one in 24 of 24 cases, bursts of equal pods among them.)

What has to be told apart from it: containers that ask for no GPU, for which the pod's specification is needed; pods
that were started before a device plugin had registered, and run without their GPUs; init containers, which hold devices
but are not listed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gpu_topology.request import ContainerKind, GpuRequest
from topology_agent.kubelet.listing import ContainerListing
from topology_agent.pods import GpuPod

_Devices: TypeAlias = Mapping[str, tuple[str, ...]]
"""Container to the ids of the devices that it is listed with."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A container that is being served. Two are equal if they have to be served alike.

    Attributes:
        pod: "<namespace>/<name>".
        request: its pod's.
        position: of the container in the request.
        held: devices of the pod's other containers, as far as they are listed.
        assigned: UUIDs that are recorded for the container.
    """

    pod: str = field(compare=False)
    request: GpuRequest
    position: int
    held: frozenset[str]
    assigned: frozenset[str]

    @property
    def container(self) -> str:
        """The container's name."""
        return self.request.containers[self.position].name


def identify(listing: Iterable[ContainerListing], pods: Mapping[str, GpuPod], size: int) -> Subject | None:
    """Who is being served.

    Args:
        listing: all containers of the node, as listed inside the call.
        pods: the pods of the node that are known.
        size: how many GPUs the container is to have in all.

    Returns:
        None where it cannot be told: nobody is known to ask for so many, or pods that would have to be served
        differently do.
    """
    found: dict[bool, list[Subject]] = defaultdict(list)
    for name, devices in _by_pod(listing).items():
        pod = pods.get(name)
        position = _position(pod.request, devices, size) if pod else None
        if pod is not None and position is not None:
            found[pod.started].append(_subject(pod, position, devices))
    candidates = found[False] or found[True]
    return candidates[0] if len(set(candidates)) == 1 else None


def unexplained(listing: Iterable[ContainerListing], pods: Mapping[str, GpuPod]) -> frozenset[str]:
    """The pods that are listed without any device and not known: one of them may be the one that is being served."""
    by_pod = _by_pod(listing)
    return frozenset(name for name, devices in by_pod.items() if name not in pods and not any(devices.values()))


def _by_pod(listing: Iterable[ContainerListing]) -> Mapping[str, _Devices]:
    pods: defaultdict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for entry in listing:
        pods[entry.pod][entry.container] = entry.devices
    return pods


def _position(request: GpuRequest, devices: _Devices, size: int) -> int | None:
    """The place of the container that is being served if it is of this pod, which asks for so many GPUs next."""
    served = [index for index, container in enumerate(request.containers) if devices.get(container.name)]
    first = served[-1] + 1 if served else 0
    for index, container in enumerate(request.containers[first:], first):
        if container.gpus == size:
            return index
        if container.kind is not ContainerKind.INIT:
            return None  # it is listed without devices, so no later one is being served
    return None


def _subject(pod: GpuPod, position: int, devices: _Devices) -> Subject:
    name = pod.request.containers[position].name
    held = frozenset(device for ids in devices.values() for device in ids)
    return Subject(pod.name, pod.request, position, held, pod.assigned.get(name, frozenset()))
