"""The objects that we create, in the API server's JSON form: events, leases, bindings. The time is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

REPORTER: Final = "gpu-scheduler/agent"
"""Who reports an event: a qualified name, as the API server wants it."""
MOST_NOTE_BYTES: Final = 1024
"""What the API server takes as a note (k8s.io/kubernetes, pkg/apis/core/validation/events.go)."""
_CUT: Final = " ..."


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something that happened to a node, for people to read.

    Attributes:
        reason: one word for what happened, such as "GpuLost".
        action: one word for what was done about it.
        note: a sentence; cut where it is longer than the API server takes.
        is_warning: whether somebody should look.
    """

    reason: str
    action: str
    note: str
    is_warning: bool


def new_event(node: str, event: NodeEvent, at: datetime) -> dict[str, Any]:
    """The Event object. The UID that it gives is the node's name, as kubelets do: `kubectl describe` finds both."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{node}-", "namespace": "default"},
        "eventTime": _micro_time(at),
        "reportingController": REPORTER,
        "reportingInstance": node[:128],
        "action": event.action,
        "reason": event.reason,
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "note": _cut(event.note),
        "type": "Warning" if event.is_warning else "Normal",
    }


def new_binding(pod: str, uid: str, node: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The Binding of a pod. Its annotations are merged into the pod's (k8s.io/kubernetes, pkg/registry/core/pod)."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod, "uid": uid, "annotations": dict(annotations)},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def new_lease(owner: dict[str, Any], duration_seconds: int, at: datetime) -> dict[str, Any]:
    """The Lease of a node, which the cluster's garbage collector deletes when the node is gone."""
    metadata = owner["metadata"]
    reference = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": metadata["name"], "ownerReferences": [reference]},
        **lease_renewal(metadata["name"], duration_seconds, at),
    }


def lease_renewal(holder: str, duration_seconds: int, at: datetime) -> dict[str, Any]:
    """What a renewal changes of a Lease."""
    return {
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration_seconds,
            "renewTime": _micro_time(at),
        }
    }


def _micro_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(note: str) -> str:
    encoded = note.encode()
    if len(encoded) <= MOST_NOTE_BYTES:
        return note
    return encoded[: MOST_NOTE_BYTES - len(_CUT)].decode(errors="ignore") + _CUT
