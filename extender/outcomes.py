"""How a GPU pod fared on its node: refused there, ended right after its start, or run. Read from the pod's status.

Which reasons the kubelet gives is read in k8s.io/kubernetes v1.36.3: pkg/kubelet/lifecycle/predicate.go,
pkg/kubelet/cm/admission/errors.go and pkg/kubelet/cm/topologymanager/topology_manager.go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from extender.pods import identity_of
from gpu_topology.request import GPU_RESOURCE, counts_of
from gpu_topology.slices import is_slice_resource

START_WINDOW: Final = timedelta(seconds=30)
"""A container that ends with an error within this time has failed right after its start; one that runs longer has
shown that its node can run GPU pods. A driver or a GPU that is broken fails when it is first used."""

_SPEAKING: Final = frozenset({"reason", "initContainerStatuses", "containerStatuses"})
"""What the status of a pod has once its kubelet has spoken of it: most changes of a pod come before that."""
_LONGEST_REASON: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a container started, as the kubelet writes it, that never did: the runtime could not start it."""


class FailureReason(StrEnum):
    """Why a pod failed, as far as that can be its node's fault.

    The kubelet refuses pods for other reasons too: for what the pod asks for and the node does not have (NodeAffinity,
    PodOSNotSupported, SysctlForbidden and so on), and for what passes or is said by a taint (OutOfcpu and OutOfmemory
    where two schedulers fill a node at once, Evicted, NodeShutdown). Those are not counted.
    """

    UNEXPECTED_ADMISSION = "UnexpectedAdmissionError"
    """The device plugin could not allocate what the kubelet counts as free."""
    TOPOLOGY_AFFINITY = "TopologyAffinityError"
    """The Topology Manager found no alignment for the pod."""
    OUT_OF_GPUS = "OutOfGpus"
    """The kubelet has fewer GPUs than the scheduler thought; it says `OutOf` and the resource."""
    NODE_INFO = "InvalidNodeInfo"
    PREDICATE = "UnexpectedPredicateFailureType"
    UNKNOWN = "UnknownReason"
    EARLY_EXIT = "EarlyExit"
    """A container with GPUs ended with an error right after its start, or could not be started."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A GPU pod failed.

    Attributes:
        pod: its UID, or its name where it has none.
        owner: UID of its controller, or the pod itself where it has none.
        detail: the reason as the kubelet gives it, for a person.
        at: when.
    """

    node: str
    pod: str
    owner: str
    reason: FailureReason
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Success:
    """A GPU pod ran.

    Attributes:
        pod: as in `Failure`.
        at: since when that is shown. It may lie ahead: then the pod has to run until then.
    """

    node: str
    pod: str
    at: datetime


def outcomes_of(pod: Mapping[str, Any]) -> list[Failure | Success]:
    """What a pod in the API server's JSON form says of its node, in the order in which it happened.

    Pods without GPUs, and those that are not bound, say nothing. What is missing or foreign reads as not there.
    """
    node = _mapping(pod.get("spec")).get("nodeName")
    status = _mapping(pod.get("status"))
    if not isinstance(node, str) or not node or _SPEAKING.isdisjoint(status):
        return []
    names = gpu_containers_of(pod)
    if not names:
        return []
    identity = identity_of(pod)
    name = identity.uid or identity.key
    failure = _failure(pod, node, name, names)
    shown_at = _shown_at(pod, names)
    outcomes = [failure, None if shown_at is None else Success(node, name, shown_at)]
    return sorted((each for each in outcomes if each is not None), key=lambda outcome: outcome.at)


def gpu_containers_of(pod: Mapping[str, Any]) -> set[str]:
    """The names of the containers that ask for GPUs or parts of them."""
    counts = counts_of(pod)
    return {asked.name for asked in counts.containers} | {asked.container for asked in counts.slices}


def _failure(pod: Mapping[str, Any], node: str, name: str, names: set[str]) -> Failure | None:
    status = _mapping(pod.get("status"))
    metadata = _mapping(pod.get("metadata"))
    said = status.get("reason") if status.get("phase") == "Failed" else None
    if isinstance(said, str) and said:
        reason, at = _admission(said), _refused_at(status, metadata)
        return None if reason is None or at is None else Failure(node, name, _owner(pod, name), reason, said, at)
    if metadata.get("deletionTimestamp"):
        # Whoever is told to go ends with an error, too.
        return None
    exits = list(_early_exits(status, names))
    if not exits:
        return None
    at, detail = max(exits)
    return Failure(node, name, _owner(pod, name), FailureReason.EARLY_EXIT, detail, at)


def _admission(said: str) -> FailureReason | None:
    resource = said.removeprefix("OutOf")
    if resource != said:
        is_gpu = resource == GPU_RESOURCE or is_slice_resource(resource)
        return FailureReason.OUT_OF_GPUS if is_gpu and len(said) <= _LONGEST_REASON else None
    counted = said in set(FailureReason) - {FailureReason.OUT_OF_GPUS, FailureReason.EARLY_EXIT}
    return FailureReason(said) if counted else None


def _refused_at(status: Mapping[str, Any], metadata: Mapping[str, Any]) -> datetime | None:
    """When the kubelet refused a pod.

    It sets `startTime` when it first speaks of a pod, and never changes it. So a pod that had run, and is refused when
    its node comes back, counts from its start, before which nothing of it speaks against the node.
    """
    bound = [
        each.get("lastTransitionTime") for each in _each(status, "conditions") if each.get("type") == "PodScheduled"
    ]
    times = map(_time, (status.get("startTime"), *bound, metadata.get("creationTimestamp")))
    return next((time for time in times if time is not None), None)


def _early_exits(status: Mapping[str, Any], names: set[str]) -> Iterator[tuple[datetime, str]]:
    """When containers with GPUs ended with an error right after their start, each with a phrase about it."""
    for container in (
        *_statuses(status, "initContainerStatuses", names),
        *_statuses(status, "containerStatuses", names),
    ):
        for state in ("state", "lastState"):
            ended = _mapping(_mapping(container.get(state)).get("terminated"))
            started_at, finished_at = _time(ended.get("startedAt")), _time(ended.get("finishedAt"))
            code = ended.get("exitCode")
            if finished_at is None or not isinstance(code, int) or code == 0:
                continue
            if started_at is None or started_at <= _EPOCH:
                yield finished_at, "a container could not be started"
            elif finished_at - started_at <= START_WINDOW:
                seconds = (finished_at - started_at).total_seconds()
                yield finished_at, f"exit code {code} after {seconds:.0f} s"


def _shown_at(pod: Mapping[str, Any], names: set[str]) -> datetime | None:
    """When all containers with GPUs have run for longer than the start takes; None if that is not to be seen."""
    status = _mapping(pod.get("status"))
    statuses = _statuses(status, "containerStatuses", names)
    if status.get("phase") == "Succeeded":
        ends = [_time(_mapping(_mapping(each.get("state")).get("terminated")).get("finishedAt")) for each in statuses]
        return max((end for end in ends if end is not None), default=None)
    shown = [_ran_until(_mapping(each.get("state"))) for each in statuses]
    known = [time for time in shown if time is not None]
    return max(known) if known and len(known) == len(shown) else None


def _ran_until(state: Mapping[str, Any]) -> datetime | None:
    """When a container has, or will have, run for long enough; None if it ended before."""
    ended = _mapping(state.get("terminated"))
    started_at = _time(_mapping(state.get("running")).get("startedAt") or ended.get("startedAt"))
    if started_at is None or started_at <= _EPOCH:
        return None
    shown_at = started_at + START_WINDOW
    finished_at = _time(ended.get("finishedAt"))
    return shown_at if not ended or (finished_at is not None and finished_at > shown_at) else None


def _owner(pod: Mapping[str, Any], name: str) -> str:
    for reference in _each(_mapping(pod.get("metadata")), "ownerReferences"):
        uid = reference.get("uid")
        if reference.get("controller") is True and isinstance(uid, str) and uid:
            return uid
    return name


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _statuses(status: Mapping[str, Any], key: str, names: set[str]) -> list[Mapping[str, Any]]:
    return [container for container in _each(status, key) if str(container.get("name")) in names]


def _each(fields: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = fields.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
