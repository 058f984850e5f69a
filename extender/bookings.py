"""What a pod probably holds that is bound to a node but not in the agent's report yet: which GPUs, how many slices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from extender.groups import Situation, Slices
from extender.pods import BoundPod
from gpu_topology.contract import Holder
from gpu_topology.placement import Demand, mask_of, taken
from gpu_topology.request import ContainerRequest, GpuRequest, Wishes
from gpu_topology.slices import SliceHolder


def expect(
    pods: Sequence[BoundPod], held: Sequence[Holder], reported: Situation, demand: Demand
) -> tuple[dict[str, int], int]:
    """Book the GPUs of pods that the report does not show in full.

    Args:
        pods: the pods that are bound to the node, in the order of binding.
        held: who has which GPUs, by the report.
        reported: the node's situation by the report.
        demand: the request sizes that are expected next.

    Returns:
        "<namespace>/<name>" to the mask of GPUs that the pod is expected to hold beside those reported, and the mask of
        the GPUs that are free then.
    """
    expected: dict[str, int] = {}
    free = reported.free
    for pod in pods:
        request = _unreported(pod, reported.split(pod.request).whole, held)
        if request is not None:
            expected[pod.identity.key] = taken = _taken(request, replace(reported, free=free), demand)
            free &= ~taken
    return expected, free


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
        if _is(holder, pod):
            shown[holder.resource] += holder.count
    return shown


def _unreported(pod: BoundPod, request: GpuRequest, held: Sequence[Holder]) -> GpuRequest | None:
    """What the pod asks for in whole GPUs beyond what the report shows it to have; None if that is nothing."""
    if request.is_empty:
        return None
    shown = mask_of(gpu for holder in held if _is(holder, pod) for gpu in holder.gpus).bit_count()
    if shown == 0:
        return request
    missing = request.total - shown
    return GpuRequest((ContainerRequest("", missing),), request.wishes) if missing > 0 else None


def _is(holder: Holder | SliceHolder, pod: BoundPod) -> bool:
    """Whether a report's holder is this pod, and not an earlier one of the same name."""
    same_uid = not holder.pod_uid or not pod.identity.uid or holder.pod_uid == pod.identity.uid
    return holder.pod == pod.identity.key and same_uid


def _taken(request: GpuRequest, situation: Situation, demand: Demand) -> int:
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
