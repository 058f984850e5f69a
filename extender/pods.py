"""What the books keep of a pod: which one it is, what it asks for, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extender.dra import Claim, divide
from gpu_topology.request import GpuRequest, bound_request_of, has_ended

LONGEST_NAME: Final = 253
"""Characters in a Kubernetes object's name."""


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """Which pod: "<namespace>/<name>", and its UID, "" where it has none."""

    key: str
    uid: str


@dataclass(frozen=True, slots=True)
class BoundPod:
    """A pod that holds GPUs of a node, or parts of them.

    Attributes:
        request: what it holds of the node's device plugins.
        scheduled_at: when it was bound, as the API server writes it (RFC 3339, which sorts as text); "" if unknown.
        claim: what it has from a DRA driver instead; None if nothing.
    """

    identity: PodIdentity
    node: str
    request: GpuRequest
    scheduled_at: str
    claim: Claim | None = None


def identity_of(pod: Mapping[str, Any]) -> PodIdentity:
    """The identity of a pod in the API server's JSON form; what is missing or foreign reads as ""."""
    metadata = _mapping(pod.get("metadata"))
    return PodIdentity(f"{_text(metadata, 'namespace')}/{_text(metadata, 'name')}", _text(metadata, "uid"))


def bound_pod_of(pod: Mapping[str, Any]) -> BoundPod | None:
    """What the books keep of a pod, or None if it holds no GPU of any node.

    A pod that is being deleted holds its GPUs until the API server has no such pod any more: the kubelet lets it go
    only when its containers have ended. A wish that cannot be read does not change how many GPUs are held.
    """
    node = _mapping(pod.get("spec")).get("nodeName")
    status = _mapping(pod.get("status"))
    if not isinstance(node, str) or not node or has_ended(pod):
        return None
    request, claim = divide(pod, bound_request_of(pod))
    if request.is_empty and claim is None:
        return None
    return BoundPod(identity_of(pod), node, request, _scheduled_at(status), claim)


def _scheduled_at(status: Mapping[str, Any]) -> str:
    conditions = status.get("conditions")
    for condition in conditions if isinstance(conditions, list) else ():
        if _mapping(condition).get("type") == "PodScheduled":
            return _text(condition, "lastTransitionTime")
    return ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value[:LONGEST_NAME] if isinstance(value, str) else ""
