"""How the GPUs of a simulated node are chosen: by the vendor's device plugin, or by this project's best set.

The kubelet serves the containers of a pod one after the other, in order. What a plain init container had goes to the
containers after it first, unranked; only for the rest is the plugin asked, and only where there is a choice.
(Kubernetes v1.36, pkg/kubelet/cm/devicemanager, `devicesToAllocate`.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import comb, prod
from random import Random
from typing import Final

from gpu_topology.contract import Allocation
from gpu_topology.errors import PlacementError
from gpu_topology.placement import LinkTables, assess, mask_of
from gpu_topology.placement.vendor import Scores, VendorCrash, pick
from gpu_topology.request import ContainerKind, ContainerRequest, GpuRequest, Wishes

MOST_PARTITIONS: Final = 6_500
"""Partitions that a pick may go through, some 50 ms: all that 8 of 16 GPUs have, and any request on 8 GPUs."""
MOST_CRASHES: Final = 10
"""Orders that are tried where the plugin would crash: it is started again, and the pod is created again."""


@dataclass(frozen=True, slots=True)
class VendorAllocator:
    """The vendor's plugin behind the kubelet.

    Attributes:
        random: the order in which the plugin happens to list the free GPUs, which breaks its ties.
    """

    scores: Scores
    random: Random

    def __call__(self, free: frozenset[int], request: GpuRequest) -> Sequence[tuple[int, ...]]:
        """See `topology_agent.simulation.Allocator`."""
        rest = set(free)
        reusable: set[int] = set()
        chosen = []
        for container in request.containers:
            gpus = self._allocate(container, rest, reusable)
            rest.difference_update(gpus)
            if container.kind is ContainerKind.INIT:
                reusable.update(gpus)
            else:
                reusable.difference_update(gpus)
            chosen.append(gpus)
        return chosen

    def _allocate(self, container: ContainerRequest, free: set[int], reusable: set[int]) -> tuple[int, ...]:
        reused = tuple(self._shuffled(reusable)[: container.gpus])
        needed = container.gpus - len(reused)
        if needed > len(free):
            raise PlacementError(f"container {container.name} needs {needed} more GPUs, but {len(free)} are free")
        if needed in (0, len(free)):
            return reused if needed == 0 else (*reused, *free)
        return self._pick(free, container.gpus, reused)

    def _shuffled(self, gpus: set[int]) -> list[int]:
        return self.random.sample(sorted(gpus), len(gpus))

    def _pick(self, free: set[int], size: int, required: tuple[int, ...]) -> tuple[int, ...]:
        for crashes in range(MOST_CRASHES + 1):
            order = enumerable([*required, *self._shuffled(free)], size)
            try:
                return pick(self.scores, order, size, required)
            except VendorCrash:
                if crashes == MOST_CRASHES:
                    raise
        raise AssertionError  # the loop has returned or raised


def enumerable(order: list[int], size: int) -> list[int]:
    """As much of a list of free GPUs as has no more than `MOST_PARTITIONS` partitions into sets of this size.

    NVIDIA's library goes through all of them, which takes it minutes on 16 free GPUs; a simulation cannot wait.
    """
    while len(order) > size and partitions(len(order), size) > MOST_PARTITIONS:
        order = order[:-1]
    return order


def partitions(gpus: int, size: int) -> int:
    """The number of partitions into sets of a size, one of them smaller where it does not come out even."""
    sets, rest = divmod(gpus, size)
    return comb(gpus, rest) * prod(comb(number * size - 1, size - 1) for number in range(1, sets + 1))


@dataclass(frozen=True, slots=True)
class BestAllocator:
    """This project's choice, from the function with which the extender scores the node."""

    tables: LinkTables

    def __call__(self, free: frozenset[int], request: GpuRequest) -> Sequence[tuple[int, ...]]:
        """See `topology_agent.simulation.Allocator`."""
        mask = mask_of(free)
        assessment = assess(self.tables, mask, request, Allocation.BEST)
        if assessment.refusal:
            # A kubelet does not refuse a pod for its wishes: whoever bound it here has decided to do without them.
            assessment = assess(self.tables, mask, replace(request, wishes=Wishes()), Allocation.BEST)
        if assessment.refusal:
            raise PlacementError(assessment.refusal.message)
        return [gpus for _, gpus in assessment.containers]
