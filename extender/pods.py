"""What the books keep of a pod: which one it is, what it asks for, and since when."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from extender.dra import Claim, divide
from gpu_topology.assignment import Assignment, assignment_of
from gpu_topology.request import GPU_RESOURCE, GpuRequest, bound_request_of, has_ended

LONGEST_NAME: Final = 253
"""Characters in a Kubernetes object's name."""
_REQUESTS_SHARED: Final = 1024
"""Different requests that are remembered, so that equal ones are one object."""


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
        assignment: the GPUs that were chosen for it when it was bound; None where nothing is recorded.
        witnessed: ids of the whole GPUs that it has by its own status, in alphabetical order; None where that does not
            say.
        claim: what it has from a DRA driver instead; None if nothing.
    """

    identity: PodIdentity
    node: str
    request: GpuRequest
    scheduled_at: str
    assignment: Assignment | None = None
    witnessed: tuple[str, ...] | None = None
    claim: Claim | None = None


def identity_of(pod: Mapping[str, Any]) -> PodIdentity:
    """The identity of a pod in the API server's JSON form; what is missing or foreign reads as ""."""
    metadata = _mapping(pod.get("metadata"))
    return PodIdentity(f"{_text(metadata, 'namespace')}/{_text(metadata, 'name')}", _text(metadata, "uid"))


def bound_pod_of(pod: Mapping[str, Any], *, trusts_records: bool = False) -> BoundPod | None:
    """What the books keep of a pod, or None if it holds no GPU of any node.

    A pod that is being deleted holds its GPUs until the API server has no such pod any more: the kubelet lets it go
    only when its containers have ended. A wish that cannot be read does not change how many GPUs are held.

    Args:
        pod: in the API server's JSON form.
        trusts_records: whether what is recorded on it was surely written by an extender.
    """
    node = _mapping(pod.get("spec")).get("nodeName")
    status = _mapping(pod.get("status"))
    if not isinstance(node, str) or not node or has_ended(pod):
        return None
    request, claim = divide(pod, _shared(bound_request_of(pod)))
    if request.is_empty and claim is None:
        return None
    assignment = assignment_of(pod) if trusts_records else None
    return BoundPod(
        identity_of(pod), sys.intern(node), request, _scheduled_at(status), assignment, _witnessed(status), claim
    )


@lru_cache(maxsize=_REQUESTS_SHARED)
def _shared(request: GpuRequest) -> GpuRequest:
    """The first request that was equal to this one: thousands of pods ask for the same."""
    return request


def _witnessed(status: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The whole GPUs that the kubelet names in a pod's status, from Kubernetes 1.36 on.

    (`containerStatuses[].allocatedResourcesStatus`, of the feature ResourceHealthStatus.)
    """
    named = [
        sys.intern(_text(device, "resourceID"))
        for container in _sequence(status.get("containerStatuses"))
        for resource in _sequence(container.get("allocatedResourcesStatus"))
        if resource.get("name") == GPU_RESOURCE
        for device in _sequence(resource.get("resources"))
    ]
    return tuple(sorted(set(named))) if named else None


def _scheduled_at(status: Mapping[str, Any]) -> str:
    for condition in _sequence(status.get("conditions")):
        if condition.get("type") == "PodScheduled":
            return _text(condition, "lastTransitionTime")
    return ""


def _sequence(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value[:LONGEST_NAME] if isinstance(value, str) else ""
