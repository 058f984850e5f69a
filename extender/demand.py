"""Which request sizes are expected next, learnt from the pods that hold GPUs."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from gpu_topology.placement import DEFAULT_DEMAND, Demand
from gpu_topology.request import GpuRequest

DRIFT: Final = 0.05
"""The share of requests by which the demand in use may differ from what is learnt by now. What is remembered of nodes
speaks of one demand, so it is thrown away with it: seldom, rather than with every pod."""


class LearntDemand:
    """Counts the containers of the pods that hold GPUs at present, by size.

    These are known after a restart, and to each replica, as well as before. `Demand.learnt` says how the default fades.

    Attributes:
        current: the demand in use.

    Args:
        fixed: a demand that stays; None: the default, until more is learnt.
    """

    def __init__(self, fixed: Demand | None = None) -> None:
        self.current = fixed or DEFAULT_DEMAND
        self._learns = fixed is None
        self._counts: Counter[int] = Counter()

    def replace(self, requests: Iterable[GpuRequest]) -> None:
        """These are all the requests of pods that hold GPUs."""
        self._counts = Counter(size for request in requests for size in _sizes(request))

    def add(self, request: GpuRequest) -> None:
        """A pod holds GPUs now."""
        self._counts.update(_sizes(request))

    def remove(self, request: GpuRequest) -> None:
        """A pod does not hold GPUs any more."""
        self._counts.subtract(_sizes(request))

    def relearn(self) -> bool:
        """Take what is learnt into use where it differs by more than `DRIFT`. Returns whether it did."""
        if not self._learns:
            return False
        learnt = Demand.learnt(self._counts)
        drifted = _distance(learnt, self.current) > DRIFT
        if drifted:
            self.current = learnt
        return drifted


def _sizes(request: GpuRequest) -> list[int]:
    return [container.gpus for container in request.containers]


def _distance(one: Demand, other: Demand) -> float:
    """The share of requests that are of another size: total variation, 0 to 1."""
    first, second = dict(one.shares), dict(other.shares)
    return sum(abs(first.get(size, 0.0) - second.get(size, 0.0)) for size in first.keys() | second.keys()) / 2
