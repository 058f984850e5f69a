"""The sets that placement did not choose, and what each lacks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, Final

import numpy as np

from gpu_topology.placement import DEFAULT_DEMAND, LinkTables, Locality, SetWorth, gpus_of
from gpu_topology.placement.choose import LIGHT_SHARE, communication_of, keeping
from gpu_topology.request import Communication, Require, Wishes
from gputopo.chosen import Chosen
from gputopo.output import gbps

_PLACES: Final = {
    Locality.NUMA: "in one NUMA node",
    Locality.PCIE_SWITCH: "under one PCIe switch",
    Locality.NIC: "near one NIC",
}
_REQUIRED: Final = {
    Require.NUMA: "not known to share a NUMA node",
    Require.PCIE_SWITCH: "not known to be under one PCIe switch",
    Require.NVLINK: "not all linked by NVLink",
}


@dataclass(frozen=True, slots=True)
class Rival:
    """A set that was not chosen.

    Attributes:
        mask: the set.
        worth: its worth.
        left: the value of what it would leave, 0 to 1 (`LinkTables.leftover`).
        allowed: whether it keeps the pod's wishes.
        reason: why it lost.
        alike: how many sets have this worth, leave this value and lost for this reason, this one included.
    """

    mask: int
    worth: SetWorth
    left: float
    allowed: bool
    reason: str
    alike: int = 1

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "gpus": gpus_of(self.mask),
            "bandwidth_gbps": self.worth.bandwidth_gbps,
            "pair_sum_gbps": self.worth.pair_sum_gbps,
            "leftover": {"value": round(self.left, 6)},
            "reason": self.reason,
            "alike": self.alike,
        }


def rivals_of(chosen: Chosen, tables: LinkTables, free: int, wishes: Wishes, most: int) -> list[Rival]:
    """The next best sets, each kind once: first those that keep the wishes, then those that do not.

    Args:
        chosen: the set that was chosen.
        tables: of the machine's links.
        free: mask of the GPUs among which it was.
        wishes: that it was chosen by.
        most: how many are wanted.
    """
    judge = _Judge(chosen, tables, free, wishes)
    rivals = sorted(judge.rivals(), key=judge.wanted, reverse=True)
    kinds = groupby(rivals, key=attrgetter("worth", "left", "reason"))
    return [_counted(list(kind)) for _, kind in islice(kinds, most)]


def _counted(kind: list[Rival]) -> Rival:
    return replace(kind[0], alike=len(kind))


class _Judge:
    """Compares sets with the chosen one as `gpu_topology.placement.choose` does for a pod's only container."""

    def __init__(self, chosen: Chosen, tables: LinkTables, free: int, wishes: Wishes) -> None:
        self._chosen = chosen
        self._tables = tables
        self._free = free
        self._wishes = wishes
        self._left = tables.leftover(free & ~chosen.mask, DEFAULT_DEMAND)
        self._heavy = communication_of(len(chosen.gpus), wishes) is Communication.HEAVY
        self._sets = tables.candidates(free, len(chosen.gpus))
        self._kept = keeping(tables, self._sets, wishes)
        self._fast_enough = self._light_share() if wishes.communication is Communication.LIGHT else 0.0

    def rivals(self) -> Iterator[Rival]:
        """All sets but the chosen one."""
        meets = self._tables.meets(self._wishes.require, self._sets)
        kept = np.isin(self._sets, self._kept)
        for mask, meeting, keeps in zip(self._sets.tolist(), meets, kept, strict=True):
            if mask != self._chosen.mask:
                worth = self._tables.worth(mask)
                left = self._tables.leftover(self._free & ~mask, DEFAULT_DEMAND)
                broken = self._broken_wish(worth, meeting=meeting, keeps=keeps)
                yield Rival(mask, worth, left, broken is None, broken or self._shortfall(worth, left))

    def wanted(self, rival: Rival) -> tuple[object, ...]:
        """Sorts sets from the least to the most wanted; of equal ones the lowest GPUs are wanted most."""
        merits = (rival.worth, rival.left) if self._heavy else (rival.left, rival.worth)
        return (rival.allowed, *merits, -rival.mask)

    def _light_share(self) -> float:
        return LIGHT_SHARE * float(self._tables.bandwidths(self._kept).max())

    def _broken_wish(self, worth: SetWorth, *, meeting: bool, keeps: bool) -> str | None:
        if not meeting:
            return _REQUIRED[self._wishes.require]
        if not keeps:
            return f"too slow: {gbps(worth.bandwidth_gbps)} of {gbps(self._wishes.min_bandwidth_gbps)} wished for"
        if worth.bandwidth_gbps < self._fast_enough:
            return f"too slow even for light communication: {gbps(worth.bandwidth_gbps)}"
        return None

    def _shortfall(self, worth: SetWorth, left: float) -> str:
        """The first respect in which a set is worse than the chosen one."""
        leaves_less = f"leaves less: {left:.4g}, not {self._left:.4g}" if left < self._left else None
        worth_less = _worth_less(worth, self._chosen.worth)
        reasons = (worth_less, leaves_less) if self._heavy else (leaves_less, worth_less)
        return next(filter(None, reasons), "as good: the lowest numbers come first")


def _worth_less(worth: SetWorth, best: SetWorth) -> str | None:
    """The first respect in which a set is worth less than the best, or None where it is not."""
    if worth.bandwidth_gbps < best.bandwidth_gbps:
        return f"slower: {gbps(worth.bandwidth_gbps)}, not {gbps(best.bandwidth_gbps)}"
    if worth.ring_sum_gbps < best.ring_sum_gbps:
        return f"less over its ring: {gbps(worth.ring_sum_gbps)} in all, not {gbps(best.ring_sum_gbps)}"
    if worth.pair_sum_gbps < best.pair_sum_gbps:
        return f"less over its pairs: {gbps(worth.pair_sum_gbps)} in all, not {gbps(best.pair_sum_gbps)}"
    if worth.locality < best.locality:
        missing = [text for place, text in _PLACES.items() if place & best.locality & ~worth.locality]
        return f"farther apart: not {missing[0]}"
    return None
