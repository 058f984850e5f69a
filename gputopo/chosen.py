"""The set that placement chooses for one container, and what it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from gpu_topology.contract import Allocation
from gpu_topology.errors import PlacementError
from gpu_topology.placement import DEFAULT_DEMAND, LinkTables, SetWorth, assess, gpus_of
from gpu_topology.placement.choose import ContainerShape, Devices, choose
from gpu_topology.request import ContainerKind, ContainerRequest, GpuRequest, Wishes

TYPICAL_SIZES: Final = (2, 4, 8)
"""The sizes for which the best set is shown."""

_FREE_SETS_KEPT: Final = 8192


@dataclass(frozen=True, slots=True)
class Leftover:
    """What stays free, and what it is good for.

    Attributes:
        free: the GPUs that nobody has afterwards.
        value: of these to the requests expected next, 0 to 1 (`LinkTables.leftover`).
        change: the value afterwards minus the value before, in GPUs; never above 0.
        best_gbps: GB/s of the best set that is left, by its size, for those `TYPICAL_SIZES` that still fit.
    """

    free: tuple[int, ...]
    value: float
    change: float
    best_gbps: Mapping[int, float]

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "free": self.free,
            "value": self.value,
            "change": self.change,
            "best_gbps": {str(size): gbps for size, gbps in self.best_gbps.items()},
        }


@dataclass(frozen=True, slots=True)
class Chosen:
    """The set that placement chooses.

    Attributes:
        mask: the set.
        exact: whether no better set was overlooked, as may happen above 16 GPUs.
    """

    mask: int
    worth: SetWorth
    leftover: Leftover
    exact: bool

    @property
    def gpus(self) -> tuple[int, ...]:
        """The set's GPUs, ascending."""
        return gpus_of(self.mask)

    def document(self) -> dict[str, Any]:
        """The same as JSON; `approximate` is there only where it is true."""
        answer = {
            "gpus": self.gpus,
            "bandwidth_gbps": self.worth.bandwidth_gbps,
            "pair_sum_gbps": self.worth.pair_sum_gbps,
            "leftover": self.leftover.document(),
        }
        return answer if self.exact else {**answer, "approximate": True}


def choose_set(tables: LinkTables, free: int, size: int, wishes: Wishes) -> Chosen:
    """The best set for one container, where the node enforces the choice.

    Args:
        tables: of the machine's links.
        free: mask of the free GPUs.
        size: how many GPUs the container asks for.
        wishes: of its pod.

    Raises:
        PlacementError: there is no such set; the message says why.
    """
    sets = choose(tables, Devices(free), (ContainerShape(size, ContainerKind.MAIN),), wishes, DEFAULT_DEMAND)
    if sets is None:
        raise PlacementError(_refusal(tables, free, size, wishes))
    (chosen,) = sets
    return Chosen(chosen, tables.worth(chosen), leftover_of(tables, free, chosen), tables.exact)


def leftover_of(tables: LinkTables, free: int, taken: int) -> Leftover:
    """What taking a set leaves of the free GPUs, both masks."""
    left = free & ~taken
    before, after = tables.leftover(free, DEFAULT_DEMAND), tables.leftover(left, DEFAULT_DEMAND)
    change = round((after - before) * len(tables), 6)
    return Leftover(gpus_of(left), round(after, 6), change, _best_gbps(tables, left))


@lru_cache(maxsize=_FREE_SETS_KEPT)
def _best_gbps(tables: LinkTables, free: int) -> Mapping[int, float]:
    fitting = (size for size in TYPICAL_SIZES if size <= free.bit_count())
    return {size: float(tables.bandwidths(tables.candidates(free, size)).max()) for size in fitting}


def _refusal(tables: LinkTables, free: int, size: int, wishes: Wishes) -> str:
    """Why the node cannot serve the container, in the words that the extender uses."""
    request = GpuRequest((ContainerRequest("", size),), wishes)
    refusal = assess(tables, free, request, Allocation.BEST).refusal
    return refusal.message if refusal else f"no set of {size} was found"
