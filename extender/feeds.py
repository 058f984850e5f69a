"""What a watch sees goes into the books."""

import gc
from collections.abc import Iterable
from typing import Any, Final

from extender.ledger import Ledger
from extender.outcomes import outcomes_of
from extender.pods import bound_pod_of, identity_of
from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION
from gpu_topology.request import GPU_RESOURCE
from kubernetes_api import Handler

_POD_METADATA: Final = ("namespace", "name", "uid", "annotations", "ownerReferences", "deletionTimestamp")
_STATUSES: Final = ("initContainerStatuses", "containerStatuses")
_CONTAINER_STATUS: Final = ("name", "state", "lastState", "allocatedResourcesStatus")
_CONTAINER: Final = ("name", "resources", "restartPolicy")


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
    """What is read of a pod: no more than its name if it never held a GPU, as most do."""
    metadata = _only(pod["metadata"], _POD_METADATA)
    if bound_pod_of(pod) is None and not outcomes_of(pod):
        return {"metadata": {key: metadata.get(key) for key in ("namespace", "name", "uid")}}
    spec, status = pod["spec"], pod.get("status") or {}
    return {
        "metadata": metadata,
        "spec": {
            "nodeName": spec["nodeName"],
            "initContainers": [_only(container, _CONTAINER) for container in spec.get("initContainers") or ()],
            "containers": [_only(container, _CONTAINER) for container in spec.get("containers") or ()],
        },
        "status": {
            **_only(status, ("phase", "reason", "startTime", "conditions", "extendedResourceClaimStatus")),
            **{key: [_only(each, _CONTAINER_STATUS) for each in status.get(key) or ()] for key in _STATUSES},
        },
    }


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
