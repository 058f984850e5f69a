"""Pods as the API server has them."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpu_topology.assignment import ASSIGNED_ANNOTATION, Assignment, encode_assignment
from gpu_topology.request import GPU_RESOURCE, ContainerKind, ContainerRequest, GpuRequest


def api_pod(
    name: str, request: GpuRequest, annotations: Mapping[str, str] | None = None, *, started: bool = False
) -> dict[str, Any]:
    """A pod bound to this node; the wishes of the request are not written."""
    return {
        "metadata": {
            "namespace": "default",
            "name": name,
            "uid": f"uid-{name}",
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "nodeName": "n",
            "initContainers": _containers(request, main=False),
            "containers": _containers(request, main=True),
        },
        "status": {"phase": "Pending"} | ({"containerStatuses": [{"name": "main"}]} if started else {}),
    }


def record(name: str, **containers: Sequence[str]) -> dict[str, str]:
    """The annotation by which the extender records which GPUs it has chosen for the containers of a pod."""
    chosen = tuple((container, tuple(uuids)) for container, uuids in containers.items())
    assignment = Assignment(f"uid-{name}", "n", chosen, bandwidth_gbps=None, enforced=True)
    return {ASSIGNED_ANNOTATION: encode_assignment(assignment)}


def _containers(request: GpuRequest, *, main: bool) -> list[dict[str, Any]]:
    return [_container(each) for each in request.containers if (each.kind is ContainerKind.MAIN) is main]


def _container(request: ContainerRequest) -> dict[str, Any]:
    container = {"name": request.name, "resources": {"requests": {GPU_RESOURCE: str(request.gpus)}}}
    return container | ({"restartPolicy": "Always"} if request.kind is ContainerKind.SIDECAR else {})
