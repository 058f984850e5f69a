"""GPUs that are handed out by Dynamic Resource Allocation (DRA) and not by a device plugin, so far as it concerns us.

A DeviceClass may say `extendedResourceName: nvidia.com/gpu`. Where a node's allocatable has none of that resource,
kube-scheduler then allocates devices of the class for pods that ask for it, in a ResourceClaim that it makes for the
pod, and writes into the pod's status which container's request became which of the claim's
(k8s.io/kubernetes v1.36.3, pkg/scheduler/framework/plugins/dynamicresources/extendeddynamicresources.go). It chooses
the devices itself and tells us nothing of it, so what a pod would get there is unknown; how many it has is known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gpu_topology.request import GPU_RESOURCE, GpuRequest


@dataclass(frozen=True, slots=True)
class Claim:
    """What a pod has through a ResourceClaim that was made for its resource requests.

    Attributes:
        name: the ResourceClaim's, in the pod's namespace.
        request: what the containers asked for and got through it.
    """

    name: str
    request: GpuRequest


def divide(pod: Mapping[str, Any], request: GpuRequest) -> tuple[GpuRequest, Claim | None]:
    """What a bound pod holds of the device plugins, and what it has through a claim; None without one.

    Args:
        pod: in the API server's JSON form.
        request: what it asks for.
    """
    status = _mapping(_mapping(pod.get("status")).get("extendedResourceClaimStatus"))
    name, mappings = status.get("resourceClaimName"), status.get("requestMappings")
    if not isinstance(name, str) or not isinstance(mappings, list):
        return request, None
    claimed = {(str(each.get("containerName")), str(each.get("resourceName"))) for each in map(_mapping, mappings)}
    held, through_claim = (
        GpuRequest(
            tuple(each for each in request.containers if ((each.name, GPU_RESOURCE) in claimed) is chosen),
            request.wishes,
            tuple(each for each in request.slices if ((each.container, each.resource) in claimed) is chosen),
        )
        for chosen in (False, True)
    )
    return (request, None) if through_claim.is_empty else (held, Claim(name, through_claim))


def problem_of(device_class: str) -> str:
    """Why nothing can be promised of a node whose GPUs come from a DRA driver, in words for a person."""
    return (
        f"the kubelet offers no {GPU_RESOURCE}; GPUs there are handed out by the DRA driver of device class "
        f"{device_class}, which chooses them itself"
    )


class DeviceClasses:
    """A `kubernetes_api.Handler` of DeviceClasses that tells which of them stands for `nvidia.com/gpu`.

    Args:
        tell: is told the class's name, or None where there is none, whenever that may have changed.
    """

    def __init__(self, tell: Callable[[str | None], None]) -> None:
        self._tell = tell
        self._created: dict[str, str] = {}

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the classes."""
        self._created = {}
        for obj in objects:
            self._note(obj)
        self._tell(self._chosen())

    def changed(self, obj: dict[str, Any]) -> None:
        """A class was added or changed."""
        self._note(obj)
        self._tell(self._chosen())

    def deleted(self, obj: dict[str, Any]) -> None:
        """A class is gone."""
        self._created.pop(obj["metadata"]["name"], None)
        self._tell(self._chosen())

    def _note(self, obj: dict[str, Any]) -> None:
        metadata = obj["metadata"]
        self._created.pop(metadata["name"], None)
        if _mapping(obj.get("spec")).get("extendedResourceName") == GPU_RESOURCE:
            self._created[metadata["name"]] = str(metadata.get("creationTimestamp"))

    def _chosen(self) -> str | None:
        """Of several kube-scheduler takes the newest, of equally new ones the first by name."""
        newest = max(self._created.values(), default=None)
        return min((name for name, created in self._created.items() if created == newest), default=None)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
