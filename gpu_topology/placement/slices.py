"""What a pod would get on a node some of whose GPUs are cut (MIG) or shared (time-slicing, MPS).

Slices are counted per resource. No link between two slices is worth anything: they may be of one GPU, and libraries for
collectives do not join them. What counts is what stays whole: slices are best taken where GPUs are already in use by
others.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gpu_topology.contract import Allocation
from gpu_topology.placement.assess import Assessment, assess
from gpu_topology.placement.leftover import DEFAULT_DEMAND, Demand
from gpu_topology.placement.masks import mask_of
from gpu_topology.placement.refuse import Refusal, RefusalKind
from gpu_topology.placement.tables import LinkTables
from gpu_topology.request import GPU_RESOURCE, GpuRequest, Require
from gpu_topology.slices import SlicePool


@dataclass(frozen=True, slots=True)
class Split:
    """A request as a certain node serves it.

    Attributes:
        whole: what it asks for in whole GPUs, and its wishes.
        slices: resource to the number of slices.
    """

    whole: GpuRequest
    slices: Mapping[str, int]


def split(request: GpuRequest, slices: Sequence[SlicePool], usable: int) -> Split:
    """What a request comes to on a node.

    Where the device plugin offers slices under the name of whole GPUs, and no whole GPU, a request for GPUs is one for
    slices.

    Args:
        request: the pod's.
        slices: of the node.
        usable: mask of the whole GPUs in service, free or not.
    """
    totals = request.slice_totals
    whole = replace(request, slices=()) if request.slices else request
    if whole.containers and not usable and any(pool.resource == GPU_RESOURCE for pool in slices):
        totals[GPU_RESOURCE] = request.total
        whole = replace(whole, containers=())
    return Split(whole, totals)


def assess_with_slices(  # noqa: PLR0913 - seven things that callers name
    tables: LinkTables,
    free: int,
    request: GpuRequest,
    allocation: Allocation,
    demand: Demand = DEFAULT_DEMAND,
    *,
    slices: Sequence[SlicePool],
    usable: int | None = None,
) -> Assessment:
    """What a pod would get on a node, in whole GPUs and in slices. It is refused where either cannot be had.

    Where slices are asked for, `Assessment.leftover` is lower by what taking them does to the GPUs that they are of
    (`idleness`), and `Assessment.predictable` is false: which GPUs these are is left to the vendor's device plugin.

    Args:
        tables: of the node's links.
        free: mask of the free healthy GPUs.
        request: the pod's.
        allocation: who chooses the whole GPUs inside the node.
        demand: what is expected next.
        slices: of the node. The GPUs that they are of are not whole, whatever the masks say.
        usable: as in `assess`.

    Raises:
        PlacementError: `free` holds GPUs that the node does not have.
    """
    cut = mask_of({pool.gpu for pool in slices if pool.gpu is not None})
    usable = (tables.graph.everything if usable is None else usable) & ~cut
    asked = split(request, slices, usable)
    whole = assess(tables, free & ~cut, asked.whole, allocation, demand, usable=usable)
    if whole.refusal is not None:
        return replace(whole, refusal=_naming_cut(whole.refusal, len(tables), free & ~cut, request.total, cut))
    if not asked.slices:
        return whole
    refusal = _count_refusal(slices, asked.slices) or _wish_refusal(request, asked)
    leftover = round(whole.leftover + idleness(taken(slices, asked.slices)) - idleness(slices), 6)
    return replace(whole, refusal=refusal, leftover=leftover, predictable=False)


def taken(slices: Sequence[SlicePool], counts: Mapping[str, int]) -> tuple[SlicePool, ...]:
    """The slices once some are taken, or all of a resource where there are fewer.

    Each is taken from the pool with the largest free share. This is how the vendor's device plugin spreads replicas
    over GPUs unless it is told to pack them, and the worst that can happen to the GPUs that are still idle.

    Args:
        slices: of a node.
        counts: resource to how many are taken.
    """
    left = {(pool.resource, pool.gpu): pool for pool in slices}
    for resource, count in counts.items():
        pools = [pool for pool in slices if pool.resource == resource]
        for _ in range(min(count, sum(pool.free for pool in pools))):
            widest = max(pools, key=lambda pool: pool.free / pool.total if pool.free else 0.0)
            pools[pools.index(widest)] = smaller = replace(widest, free=widest.free - 1)
            left[resource, widest.gpu] = smaller
    return tuple(left.values())


def idleness(slices: Sequence[SlicePool]) -> float:
    """What the free slices of a node are worth, in GPUs: over its GPUs the sum of the free share of each, squared.

    Squared, so that a GPU that is idle and can still be put to another use is worth more than two that are half used,
    and the last slices of a busy GPU are the cheapest. Slices whose GPU is not known count as of one more.
    """
    free: defaultdict[int | None, int] = defaultdict(int)
    total: defaultdict[int | None, int] = defaultdict(int)
    for pool in slices:
        free[pool.gpu] += pool.free
        total[pool.gpu] += pool.total
    return sum((free[gpu] / total[gpu]) ** 2 for gpu in total if total[gpu])


def _count_refusal(slices: Sequence[SlicePool], counts: Mapping[str, int]) -> Refusal | None:
    for resource, count in counts.items():
        pools = [pool for pool in slices if pool.resource == resource]
        free, total = sum(pool.free for pool in pools), sum(pool.total for pool in pools)
        if count > free:
            message = f"{free} of {total} {resource} slices free, {count} asked for"
            return Refusal(RefusalKind.TOO_FEW_FREE, message, unresolvable=count > total)
    return None


def _wish_refusal(request: GpuRequest, asked: Split) -> Refusal | None:
    """The refusal of a pod with hard wishes about links, one of whose containers asks for several slices."""
    if not request.wishes.are_hard:
        return None
    several = any(wanted.count > 1 for wanted in request.slices)
    if GPU_RESOURCE in asked.slices:
        several |= any(container.gpus > 1 for container in request.containers)
    if not several:
        return None
    kind = RefusalKind.BANDWIDTH if request.wishes.require is Require.ANY else RefusalKind.REQUIRE
    return Refusal(kind, "the pod's wishes are about links, and slices of GPUs have none", unresolvable=True)


def _naming_cut(refusal: Refusal, gpus: int, free: int, asked: int, cut: int) -> Refusal:
    """The refusal, which does not call GPUs out of service that are cut or shared."""
    if refusal.kind is not RefusalKind.TOO_FEW_FREE or not cut:
        return refusal
    message = f"{free.bit_count()} whole GPUs free, {asked} asked for, {cut.bit_count()} of {gpus} are cut or shared"
    return replace(refusal, message=message)
