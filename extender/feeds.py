"""What a watch sees goes into the books."""

import gc
import sys
from collections.abc import Iterable
from typing import Any, Final

from extender.ledger import Ledger
from extender.outcomes import gpu_containers_of, outcomes_of
from extender.pods import bound_pod_of, identity_of
from gpu_topology.assignment import ASSIGNED_ANNOTATION
from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION
from gpu_topology.request import (
    COMMUNICATION_ANNOTATION,
    GPU_RESOURCE,
    MIN_BANDWIDTH_ANNOTATION,
    ON_GPU_LOSS_ANNOTATION,
    REQUIRE_ANNOTATION,
)
from gpu_topology.slices import is_slice_resource
from kubernetes_api import Handler

_IDENTITY: Final = ("namespace", "name", "uid")
_POD_METADATA: Final = (*_IDENTITY, "creationTimestamp", "deletionTimestamp")
_POD_ANNOTATIONS: Final = (
    MIN_BANDWIDTH_ANNOTATION,
    REQUIRE_ANNOTATION,
    COMMUNICATION_ANNOTATION,
    ON_GPU_LOSS_ANNOTATION,
    ASSIGNED_ANNOTATION,
)
_POD_STATUS: Final = ("phase", "reason", "startTime", "extendedResourceClaimStatus")
_STATUSES: Final = ("initContainerStatuses", "containerStatuses")
_CONTAINER_STATUS: Final = ("name", "state", "lastState", "allocatedResourcesStatus")
_CONTAINERS: Final = ("initContainers", "containers")


def trimmed_node(node: dict[str, Any]) -> dict[str, Any]:
    """What the books read of a node; the list of its images alone is several times as large."""
    metadata = node["metadata"]
    annotations = metadata.get("annotations") or {}
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    return {
        "metadata": {
            "name": metadata["name"],
            "annotations": _only(annotations, (TOPOLOGY_ANNOTATION, STATE_ANNOTATION)),
        },
        "status": {"allocatable": _only(allocatable, (GPU_RESOURCE,))},
    }


def trimmed_pod(pod: dict[str, Any]) -> dict[str, Any]:
    """What is read of a pod: no more than its name if it never held a GPU, as most do.

    A list's pods are all in memory at once before the books see them, several times as large as in the books: what is
    left in here decides about the most memory that the extender ever needs.
    """
    metadata = pod["metadata"]
    if bound_pod_of(pod) is None and not outcomes_of(pod):
        return {"metadata": {key: metadata.get(key) for key in _IDENTITY}}
    spec, status = pod["spec"], pod.get("status") or {}
    names = gpu_containers_of(pod)
    owners = [each for each in metadata.get("ownerReferences") or () if each.get("controller") is True]
    bound = [each for each in status.get("conditions") or () if each.get("type") == "PodScheduled"]
    return {
        "metadata": {
            **_only(metadata, _POD_METADATA),
            "annotations": _only(metadata.get("annotations") or {}, _POD_ANNOTATIONS),
            "ownerReferences": [_only(owner, ("uid", "controller")) for owner in owners],
        },
        "spec": {
            "nodeName": sys.intern(spec["nodeName"]),
            **{key: [_asking(each) for each in _named(spec.get(key), names)] for key in _CONTAINERS},
        },
        "status": {
            **_only(status, _POD_STATUS),
            "conditions": [_only(each, ("type", "lastTransitionTime")) for each in bound],
            **{key: [_only(each, _CONTAINER_STATUS) for each in _named(status.get(key), names)] for key in _STATUSES},
        },
    }


def _asking(container: dict[str, Any]) -> dict[str, Any]:
    """A container with nothing but what it asks for in GPUs and parts of them."""
    resources = {
        kind: {name: amount for name, amount in amounts.items() if name == GPU_RESOURCE or is_slice_resource(name)}
        for kind in ("limits", "requests")
        if (amounts := container["resources"].get(kind))
    }
    return {**_only(container, ("name", "restartPolicy")), "resources": resources}


def _named(containers: Iterable[dict[str, Any]] | None, names: set[str]) -> list[dict[str, Any]]:
    return [each for each in containers or () if each.get("name") in names]


def _settle() -> None:
    """Take what is in memory now out of the garbage collector's rounds.

    The books of a large cluster are a million objects that stay. Walking them again and again finds nothing and holds
    up the verbs for tens of milliseconds each time.
    """
    gc.collect()
    gc.freeze()


def _only(fields: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: fields[key] for key in keys if key in fields}


class NodeFeed:
    """A `kubernetes_api.Handler` that keeps the nodes of a ledger up to date."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the nodes."""
        self._ledger.replace_nodes(objects)
        _settle()

    def changed(self, obj: dict[str, Any]) -> None:
        """A node was added or changed."""
        self._ledger.apply_node(obj)

    def deleted(self, obj: dict[str, Any]) -> None:
        """A node is gone."""
        self._ledger.forget_node(obj["metadata"]["name"])


class PodFeed:
    """A `kubernetes_api.Handler` that keeps the pods of a ledger up to date."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the pods that are bound to a node."""
        self._ledger.replace_pods(objects)
        _settle()

    def changed(self, obj: dict[str, Any]) -> None:
        """A pod was bound or changed."""
        self._ledger.apply_pod(obj)

    def deleted(self, obj: dict[str, Any]) -> None:
        """A pod is gone."""
        pod = identity_of(obj)
        self._ledger.forget_pod(pod.key, pod.uid)


class Feeds:
    """A `kubernetes_api.Handler` that hands on to several, in this order."""

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = handlers

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the objects."""
        for handler in self._handlers:
            handler.replaced(objects)

    def changed(self, obj: dict[str, Any]) -> None:
        """An object was added or changed."""
        for handler in self._handlers:
            handler.changed(obj)

    def deleted(self, obj: dict[str, Any]) -> None:
        """An object is gone."""
        for handler in self._handlers:
            handler.deleted(obj)
