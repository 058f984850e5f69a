"""The objects that we create, in the API server's JSON form: events, leases, bindings, evictions. The time is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

AGENT: Final = "gpu-scheduler/agent"
MOST_NOTE_BYTES: Final = 1024
"""What the API server takes as a note (k8s.io/kubernetes, pkg/apis/core/validation/events.go)."""
MOST_INSTANCE_CHARACTERS: Final = 128
"""Of a reporting instance (the same file)."""
_CUT: Final = " ..."


@dataclass(frozen=True, slots=True)
class PodReference:
    """A pod that an event is about."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        """For the log."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something that happened to a node, or to a pod there, for people to read.

    Attributes:
        reason: one word for what happened, such as "GpuLost".
        action: one word for what was done about it.
        note: a sentence; cut where it is longer than the API server takes.
        is_warning: whether somebody should look.
        reporter: who says so: a qualified name, as the API server wants it.
    """

    reason: str
    action: str
    note: str
    is_warning: bool
    reporter: str = AGENT


@dataclass(frozen=True, slots=True)
class PodEvent:
    """Something that was decided about a pod, for people to read.

    Attributes:
        name: the Event's own, unique in the namespace: whoever would say the same again meets a conflict.
        about: the pod, in whose namespace the Event is.
        reason: one word for what happened, such as "WaitsForGpus".
        action: one word for what was done about it.
        note: a sentence; cut where it is longer than the API server takes.
        is_warning: whether somebody should look.
        reporter: who says so: a qualified name, as the API server wants it.
        instance: which process of that name says so, such as the name of its pod.
    """

    name: str
    about: PodReference
    reason: str
    action: str
    note: str
    is_warning: bool
    reporter: str
    instance: str


def new_event(about: str | PodReference, event: NodeEvent, at: datetime) -> dict[str, Any]:
    """The Event object.

    Args:
        about: a pod, or a node by its name. For a node it is also the UID that the event gives, as kubelets do, so that
            `kubectl describe` finds both; and the namespace is `default`, the only one of ours that the API server
            takes for events about objects without a namespace.
        event: what happened.
        at: when.
    """
    if isinstance(about, PodReference):
        name, namespace, regarding = about.name, about.namespace, _regarding(about)
    else:
        name, namespace = about, "default"
        regarding = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": name}
    return {
        "metadata": {"generateName": f"{name}-", "namespace": namespace},
        "regarding": regarding,
        "reportingInstance": name[:MOST_INSTANCE_CHARACTERS],
        **_said(event, at),
    }


def new_pod_event(event: PodEvent, at: datetime) -> dict[str, Any]:
    """The Event object about a pod, to be counted when it happens again."""
    return {
        "metadata": {"name": event.name, "namespace": event.about.namespace},
        "regarding": _regarding(event.about),
        "reportingInstance": event.instance[:MOST_INSTANCE_CHARACTERS],
        **_said(event, at),
    }


def event_series(count: int, at: datetime) -> dict[str, Any]:
    """What changes of an Event that has happened again; the API server lets nothing else of it change.

    Args:
        count: how often it has happened, the first time included: at least 2.
        at: when it happened last.
    """
    return {"series": {"count": count, "lastObservedTime": _micro_time(at)}}


def _regarding(pod: PodReference) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid}


def _said(event: NodeEvent | PodEvent, at: datetime) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "eventTime": _micro_time(at),
        "reportingController": event.reporter,
        "action": event.action,
        "reason": event.reason,
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


def new_eviction(namespace: str, pod: str, uid: str) -> dict[str, Any]:
    """The Eviction of a pod: of this one alone, never of another that has its name by now."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": namespace, "name": pod},
        "deleteOptions": {"preconditions": {"uid": uid}},
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
