"""What a pod probably holds that is bound to a node but not in the agent's report yet: which GPUs, how many slices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from extender.groups import Situation, Slices
from extender.pods import BoundPod
from gpu_topology.assignment import Assignment
from gpu_topology.contract import Holder
from gpu_topology.placement import Demand, mask_of, taken
from gpu_topology.request import ContainerRequest, GpuRequest, Wishes
from gpu_topology.slices import SliceHolder


class Expected(NamedTuple):
    """The GPUs of pods that the report does not show in full.

    Attributes:
        gpus: "<namespace>/<name>" to the mask of GPUs that the pod is expected to hold beside those reported.
        exclusive: those of them of which the identity is sure: the node gives the pod exactly what is recorded. Of the
            others only the number is.
        free: the mask of the GPUs that are free then.
    """

    gpus: dict[str, int]
    exclusive: frozenset[str]
    free: int


def expect(
    pods: Sequence[BoundPod],
    held: Sequence[Holder],
    reported: Situation,
    demand: Demand,
    uuids: Sequence[str | None] = (),
) -> Expected:
    """Book the GPUs of pods that the report does not show in full.

    Those for which a set is recorded come first, in whatever order pods were bound: theirs are fixed.

    Args:
        pods: the pods that are bound to the node, in the order of binding.
        held: who has which GPUs, by the report.
        reported: the node's situation by the report.
        demand: the request sizes that are expected next.
        uuids: of the node's GPUs, in the order of their indices.
    """
    missing = [each for pod in pods if (each := _missing(pod, held, reported, uuids)) is not None]
    expected: dict[str, int] = {}
    exclusive: set[str] = set()
    free = reported.free
    for pod in sorted(missing, key=lambda pod: not pod.is_fixed):
        if pod.recorded and not pod.recorded & ~free:
            mask = pod.recorded
            exclusive.update({pod.key} if pod.is_fixed else ())
        else:
            mask = taken_by(pod.request, replace(reported, free=free), demand)
        expected[pod.key] = mask
        free &= ~mask
    return Expected(expected, frozenset(exclusive), free)


class _Missing(NamedTuple):
    """What the report does not show of a pod.

    Attributes:
        key: "<namespace>/<name>".
        request: for the GPUs that are missing.
        recorded: the mask of the GPUs that are recorded for these; 0 without a record, or where it speaks of others.
        is_fixed: whether the node gives the pod what is recorded, rather than what the vendor's device plugin picks.
    """

    key: str
    request: GpuRequest
    recorded: int
    is_fixed: bool


def _missing(
    pod: BoundPod, held: Sequence[Holder], reported: Situation, uuids: Sequence[str | None]
) -> _Missing | None:
    request = _unreported(pod, reported.split(pod.request).whole, held)
    if request is None:
        return None
    recorded = _recorded(pod.assignment, uuids) & ~shown_gpus(pod, held)
    if recorded.bit_count() != request.total:
        recorded = 0
    return _Missing(pod.identity.key, request, recorded, bool(recorded and pod.assignment and pod.assignment.enforced))


def _recorded(assignment: Assignment | None, uuids: Sequence[str | None]) -> int:
    named = {uuid for _, own in assignment.containers for uuid in own} if assignment else set()
    return mask_of(map(uuids.index, named)) if named <= set(uuids) else 0


def expect_slices(
    pods: Sequence[BoundPod], held: Sequence[SliceHolder], reported: Situation
) -> tuple[dict[str, Mapping[str, int]], Slices | None]:
    """Book the slices of pods that the report does not show in full.

    Args:
        pods: the pods that are bound to the node.
        held: who has how many slices, by the report.
        reported: the node's situation by the report.

    Returns:
        "<namespace>/<name>" to resource to the number of slices that the pod is expected to hold beside those reported,
        and the slices that the node has then; None where the report does not speak of slices.
    """
    if reported.slices is None:
        return {}, None
    expected: dict[str, Mapping[str, int]] = {}
    slices = reported.slices
    for pod in pods:
        asked = reported.split(pod.request).slices
        missing = +(Counter(asked) - _shown(pod, held)) if asked else None
        if missing:
            expected[pod.identity.key] = missing
            slices = taken(slices, missing)
    return expected, slices


def _shown(pod: BoundPod, held: Sequence[SliceHolder]) -> Counter[str]:
    """Resource to the number of slices that the report shows the pod to have."""
    shown: Counter[str] = Counter()
    for holder in held:
        if is_holder(holder, pod):
            shown[holder.resource] += holder.count
    return shown


def _unreported(pod: BoundPod, request: GpuRequest, held: Sequence[Holder]) -> GpuRequest | None:
    """What the pod asks for in whole GPUs beyond what the report shows it to have; None if that is nothing."""
    if request.is_empty:
        return None
    shown = shown_gpus(pod, held).bit_count()
    if shown == 0:
        return request
    missing = request.total - shown
    return GpuRequest((ContainerRequest("", missing),), request.wishes) if missing > 0 else None


def shown_gpus(pod: BoundPod, held: Sequence[Holder]) -> int:
    """The mask of the whole GPUs that the report shows the pod to have."""
    return mask_of(gpu for holder in held if is_holder(holder, pod) for gpu in holder.gpus)


def is_holder(holder: Holder | SliceHolder, pod: BoundPod) -> bool:
    """Whether a report's holder is this pod, and not an earlier one of the same name."""
    same_uid = not holder.pod_uid or not pod.identity.uid or holder.pod_uid == pod.identity.uid
    return holder.pod == pod.identity.key and same_uid


def taken_by(request: GpuRequest, situation: Situation, demand: Demand) -> int:
    """The mask of the GPUs that placement expects a request to get, as far as there are any.

    The pod is on the node whether or not its wishes can be met there: another scheduler may have put it there, or the
    books may have changed since. Where nothing can be expected, as many GPUs are taken as are asked for, and all if
    there are fewer, because the report still shows a holder that has left.
    """
    for asked in (request, replace(request, wishes=Wishes())):
        assessment = situation.assess(asked, demand)
        if assessment.refusal is None and assessment.containers:
            return mask_of(gpu for _, gpus in assessment.containers for gpu in gpus)
    return _lowest(situation.free, request.total)


def _lowest(mask: int, count: int) -> int:
    """The first `count` GPUs of a mask, or all of them if there are fewer."""
    rest = mask
    for _ in range(min(count, mask.bit_count())):
        rest &= rest - 1
    return mask ^ rest
