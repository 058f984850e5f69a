"""The pods that wait for GPUs: read from the API server's pods, or from what an extender remembers. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from extender.pods import identity_of
from gpu_topology.request import counts_of, has_ended

_EVICTIONS: Final = re.compile(r"[\s.]*(\bno new claims to deallocate,\s*)?(\bpreemption: .*)?$", re.DOTALL)
"""What kube-scheduler adds about evictions to why a pod waits (k8s.io/kubernetes v1.36.3, pkg/scheduler)."""


def waiting_pod(pod: Mapping[str, Any]) -> dict[str, Any] | None:
    """A pod without a node that asks for GPUs; None for any other.

    - `pod`: its name; `asks_for`: whole GPUs; `slices`: resource to the number of parts of GPUs.
    - `since`: when it was made, in RFC 3339.
    - `scheduler`: the one that it names; null where that is not known.
    - `reason`: why it waits, in its scheduler's words; null where it has said nothing.
    """
    asked = counts_of(pod)
    if asked.is_empty or has_ended(pod) or pod["spec"].get("nodeName"):
        return None
    return {
        "pod": identity_of(pod).key,
        "asks_for": asked.total,
        "slices": asked.slice_totals,
        "since": pod["metadata"].get("creationTimestamp"),
        "scheduler": pod["spec"].get("schedulerName"),
        "reason": said_of(pod),
    }


def said_of(pod: Mapping[str, Any]) -> str | None:
    """Why a pod waits, in its scheduler's words; None where it has said nothing."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said: str | None = condition.get("message") or condition.get("reason")
            return said
    return None


def remembered_pod(pod: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same of a pod that an extender was asked about (docs/http-api.md); None where it is bound by now.

    Its `since` is when it was last asked about: it may be gone since.
    """
    if pod["bound_to"] is not None:
        return None
    asked = pod["asks_for"]
    return {
        "pod": pod["pod"],
        "asks_for": asked["gpus"],
        "slices": asked["slices"],
        "since": pod["asked_at"],
        "scheduler": None,
        "reason": pod["problem"] or _answered(pod["last_filter"]),
    }


def short(reason: str | None, scheduler: str | None) -> str:
    """A reason without what it says of evictions."""
    if reason is None:
        return f"{scheduler or 'its scheduler'} has said nothing yet"
    return _EVICTIONS.sub("", reason)


def _answered(answer: Mapping[str, Any] | None) -> str | None:
    if answer is None:
        return None
    refused = ", ".join(f"{kind} {number}" for kind, number in answer["refused"].items())
    passed = f"{answer['passed']} of {answer['candidates']} nodes could serve it when it was last asked about"
    return f"{passed}; refused: {refused}" if refused else passed
