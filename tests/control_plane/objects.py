"""Nodes and pods as the API server takes them, with what the tests care about as arguments."""

from collections.abc import Mapping
from typing import Any

GPU_RESOURCE = "nvidia.com/gpu"
PODS_PER_NODE = 110


def node(  # noqa: PLR0913 - a machine's properties, each with a name and a default
    name: str,
    *,
    gpus: int = 0,
    cpu: str = "64",
    memory: str = "512Gi",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A ready node, as its kubelet would report it. Without GPUs it does not have the resource at all."""
    resources = {"cpu": cpu, "memory": memory, "pods": str(PODS_PER_NODE)}
    if gpus:
        resources[GPU_RESOURCE] = str(gpus)
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a node made for a test"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **(labels or {})},
            "annotations": dict(annotations or {}),
        },
        "status": {"capacity": resources, "allocatable": resources, "conditions": [ready]},
    }


def pod(  # noqa: PLR0913 - a pod's properties, each with a name and a default
    name: str,
    *,
    gpus: int = 0,
    scheduler_name: str = "default-scheduler",
    namespace: str = "default",
    cpu: str = "100m",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A pod with one container. Without GPUs it does not ask for the resource at all."""
    resources: dict[str, Any] = {"requests": {"cpu": cpu}}
    if gpus:
        resources["limits"] = {GPU_RESOURCE: str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "schedulerName": scheduler_name,
            "containers": [{"name": "main", "image": "example/image", "resources": resources}],
        },
    }


def is_bound(pod: Mapping[str, Any]) -> bool:
    """Whether a scheduler has given the pod a node."""
    return bool(pod["spec"].get("nodeName"))
