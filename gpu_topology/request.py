"""What a pod asks for: GPUs and parts of GPUs per container, and its wishes about their links.

Read from the pod as the API server's JSON has it, by whoever decides about it: the extender when it ranks nodes, the
agent when the kubelet asks which GPUs to take. Both decide alike because they read alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

from gpu_topology.errors import WishError
from gpu_topology.slices import is_slice_resource

GPU_RESOURCE: Final = "nvidia.com/gpu"
"""The extended resource of whole GPUs."""

MIN_BANDWIDTH_ANNOTATION: Final = "gpu-scheduler/min-bandwidth-gbps"
REQUIRE_ANNOTATION: Final = "gpu-scheduler/require"
COMMUNICATION_ANNOTATION: Final = "gpu-scheduler/communication"
ON_GPU_LOSS_ANNOTATION: Final = "gpu-scheduler/on-gpu-loss"


class Require(StrEnum):
    """What every two GPUs of a container must have in common: a hard wish."""

    ANY = "any"
    NUMA = "numa"
    PCIE_SWITCH = "pcie-switch"
    NVLINK = "nvlink"


class Communication(StrEnum):
    """How much the GPUs of a pod talk to each other: a soft wish."""

    NONE = "none"
    LIGHT = "light"
    HEAVY = "heavy"


class OnGpuLoss(StrEnum):
    """What is to be done with a pod when a GPU that it holds is lost."""

    KEEP = "keep"
    EVICT = "evict"


@dataclass(frozen=True, slots=True)
class Wishes:
    """A pod's `gpu-scheduler/*` annotations.

    Attributes:
        min_bandwidth_gbps: the least bandwidth, in GB/s, that a container's set may have; 0 where none is asked for.
        require: what every pair of the set must have in common.
        communication: as said by the pod, or None where it does not say: then heavy for a container with several
            GPUs, none for one with a single GPU.
    """

    min_bandwidth_gbps: float = 0.0
    require: Require = Require.ANY
    communication: Communication | None = None

    @property
    def are_hard(self) -> bool:
        """Whether some node could be refused because of them."""
        return self.min_bandwidth_gbps > 0 or self.require is not Require.ANY


class ContainerKind(StrEnum):
    """How the kubelet treats a container's devices."""

    INIT = "init"
    """Runs to its end before the others; later containers reuse its devices."""
    SIDECAR = "sidecar"
    """An init container with `restartPolicy: Always`: keeps its devices for the pod's life."""
    MAIN = "main"


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """The whole GPUs that one container asks for."""

    name: str
    gpus: int
    kind: ContainerKind = ContainerKind.MAIN


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """The slices of one resource that one container asks for.

    Attributes:
        container: its name.
        resource: such as "nvidia.com/mig-1g.10gb".
    """

    container: str
    resource: str
    count: int
    kind: ContainerKind = ContainerKind.MAIN


@dataclass(frozen=True, slots=True)
class GpuRequest:
    """The whole GPUs and the parts of GPUs that a pod asks for.

    Attributes:
        containers: the containers that ask for whole GPUs, in the order in which the kubelet serves them.
        wishes: what the pod wants of the links.
        slices: what the containers ask for in parts of GPUs, in the same order.
    """

    containers: tuple[ContainerRequest, ...] = ()
    wishes: Wishes = field(default_factory=Wishes)
    slices: tuple[SliceRequest, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it asks for neither a GPU nor a part of one."""
        return not self.containers and not self.slices

    @property
    def total(self) -> int:
        """The number of whole GPUs that the scheduler counts for the pod."""
        return _peak((container.gpus, container.kind) for container in self.containers)

    @property
    def slice_totals(self) -> dict[str, int]:
        """Resource to the number of its slices that the scheduler counts for the pod."""
        resources = dict.fromkeys(asked.resource for asked in self.slices)
        return {
            resource: _peak((asked.count, asked.kind) for asked in self.slices if asked.resource == resource)
            for resource in resources
        }


def _peak(asked: Iterable[tuple[int, ContainerKind]]) -> int:
    """The most of a resource that a pod's containers have at the same time.

    Sidecars and main containers run together; an init container runs beside the sidecars started before it.
    (k8s.io/component-helpers/resource, PodRequests.)
    """
    running = sidecars = peak = 0
    for count, kind in asked:
        match kind:
            case ContainerKind.INIT:
                peak = max(peak, sidecars + count)
            case ContainerKind.SIDECAR:
                sidecars += count
            case ContainerKind.MAIN:
                running += count
    return max(peak, sidecars + running)


def request_of(pod: Mapping[str, Any]) -> GpuRequest:
    """The GPU request of a pod in the API server's JSON form.

    Fields that are missing, null or of a foreign type count as not there: a pod that the API server has accepted is
    well-formed, and one that was not must not stop the process.

    Raises:
        WishError: an annotation of ours cannot be read; the message names it and says what it may hold.
    """
    return with_wishes(counts_of(pod), pod)


def with_wishes(counts: GpuRequest, pod: Mapping[str, Any]) -> GpuRequest:
    """What a pod asks for, from what `counts_of` says of it and its wishes.

    Raises:
        WishError: as in `request_of`.
    """
    wishes = wishes_of(pod)
    return counts if wishes == counts.wishes else replace(counts, wishes=wishes)


def bound_request_of(pod: Mapping[str, Any]) -> GpuRequest:
    """The GPU request of a pod that is bound already: wishes that cannot be read count as none, for it holds GPUs."""
    counts = counts_of(pod)
    try:
        return with_wishes(counts, pod)
    except WishError:
        return counts


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether no container of a pod runs, nor ever will again, so that it has given its devices back."""
    return _mapping(pod.get("status")).get("phase") in ("Succeeded", "Failed")


def counts_of(pod: Mapping[str, Any]) -> GpuRequest:
    """The GPU request of a pod, its wishes left aside: they do not change how many GPUs it holds."""
    containers, slices = [], []
    for container, kind in _containers(pod):
        name = str(container.get("name", ""))
        for resource, count in sorted(_counts(container).items()):
            if resource == GPU_RESOURCE:
                containers.append(ContainerRequest(name, count, kind))
            else:
                slices.append(SliceRequest(name, resource, count, kind))
    return GpuRequest(tuple(containers), slices=tuple(slices))


def containers_of(pod: Mapping[str, Any]) -> tuple[ContainerRequest, ...]:
    """The containers that ask for whole GPUs, in the order in which the kubelet serves them."""
    return counts_of(pod).containers


def wishes_of(pod: Mapping[str, Any]) -> Wishes:
    """The wishes that a pod's annotations express.

    Raises:
        WishError: as in `request_of`.
    """
    annotations = _mapping(_mapping(pod.get("metadata")).get("annotations"))
    if not annotations:
        return _NO_WISHES
    on_gpu_loss_of(pod)  # no wish about links, and yet to be told before the pod is bound if it cannot be read
    return Wishes(
        min_bandwidth_gbps=_bandwidth(annotations.get(MIN_BANDWIDTH_ANNOTATION)),
        require=_choice(REQUIRE_ANNOTATION, annotations.get(REQUIRE_ANNOTATION), Require) or Require.ANY,
        communication=_choice(COMMUNICATION_ANNOTATION, annotations.get(COMMUNICATION_ANNOTATION), Communication),
    )


def on_gpu_loss_of(pod: Mapping[str, Any]) -> OnGpuLoss:
    """What a pod wants to be done when a GPU that it holds is lost; without the annotation: nothing.

    Raises:
        WishError: as in `request_of`.
    """
    annotations = _mapping(_mapping(pod.get("metadata")).get("annotations"))
    return _choice(ON_GPU_LOSS_ANNOTATION, annotations.get(ON_GPU_LOSS_ANNOTATION), OnGpuLoss) or OnGpuLoss.KEEP


_NO_WISHES: Final = Wishes()
_MOST_DIGITS: Final = 9
"""Of a count of GPUs; what is longer is not a count that any node could serve, and would be slow to read."""

Choice = TypeVar("Choice", bound=StrEnum)


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], ContainerKind]]:
    spec = _mapping(pod.get("spec"))
    for container in _sequence(spec.get("initContainers")):
        sidecar = container.get("restartPolicy") == "Always"
        yield container, ContainerKind.SIDECAR if sidecar else ContainerKind.INIT
    for container in _sequence(spec.get("containers")):
        yield container, ContainerKind.MAIN


def _counts(container: Mapping[str, Any]) -> dict[str, int]:
    """Resource to the number of GPUs, or of parts of GPUs, that a container asks for.

    The API server makes requests and limits equal; a pod read before defaulting may have only limits.
    """
    resources = _mapping(container.get("resources"))
    asked = {
        resource: _whole_number(quantity)
        for kind in ("limits", "requests")
        for resource, quantity in _mapping(resources.get(kind)).items()
        if quantity is not None and (resource == GPU_RESOURCE or is_slice_resource(resource))
    }
    return {resource: count for resource, count in asked.items() if count > 0}


def _whole_number(quantity: object) -> int:
    """The value of a Kubernetes quantity of an extended resource, which the API server holds to be whole."""
    if isinstance(quantity, bool):
        return 0
    if isinstance(quantity, int):
        return max(quantity, 0)
    if isinstance(quantity, str) and quantity.isascii():
        digits, thousands = (quantity[:-1], 1000) if quantity.endswith("k") else (quantity, 1)
        if digits.isdigit() and len(digits) <= _MOST_DIGITS:
            return int(digits) * thousands
    return 0


def _bandwidth(text: object) -> float:
    if text is None:
        return 0.0
    try:
        value = float(str(text))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise WishError(f'{MIN_BANDWIDTH_ANNOTATION} is {str(text)[:40]!r}: it must be a number of GB/s, such as "100"')
    return value


def _choice(annotation: str, text: object, choices: type[Choice]) -> Choice | None:
    if text is None:
        return None
    try:
        return choices(str(text))
    except ValueError:
        allowed = ", ".join(choices)
        raise WishError(f"{annotation} is {str(text)[:40]!r}: it must be one of {allowed}") from None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
