"""Approximate answers for machines too large for tables over all sets of GPUs.

What is approximate, and how:

- Where there are more than `_FEW_SETS` sets to choose from, only sets grown greedily are looked at: two from every free
  GPU, one of the GPUs closest to it and one of those that are besides linked least to what stays free.
- The ring of a set is built by going on to the best-linked GPU that it has not visited, from a few starts. Its
  bottleneck and sum are never above those of the best ring.
- The leftover counts the links between free GPUs instead of the requests that they could serve.
"""

from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpu_topology.errors import PlacementError
from gpu_topology.placement.leftover import Demand
from gpu_topology.placement.link_graph import TENTHS, LinkGraph
from gpu_topology.placement.masks import Flags, Floats, Integers, Masks, gpus_of, mask_of
from gpu_topology.placement.tables import LinkTables
from gpu_topology.placement.worth import PAIR, Locality, SetWorth, WorthModel, dense_order
from gpu_topology.request import Require

_FEW_SETS: Final = 2048
_RING_STARTS: Final = 4
_MOST_GPUS: Final = 64  # a set is a mask in an unsigned 64-bit integer

_Members = NDArray[np.bool_]
"""One row for each set, one column for each GPU."""


class ApproximateTables(LinkTables):
    """Greedy answers; the module says what that means.

    Raises:
        PlacementError: the worth model is not `ring`, or there are more than 64 GPUs.
    """

    exact = False

    def __init__(self, graph: LinkGraph, model: WorthModel) -> None:
        super().__init__(graph, model)
        if model is not WorthModel.RING:
            raise PlacementError(f"the {model} model is for machines of up to 16 GPUs, this one has {len(graph)}")
        if len(graph) > _MOST_GPUS:
            raise PlacementError(
                f"sets of more than {_MOST_GPUS} GPUs are beyond this program, the machine has {len(graph)}"
            )
        self._related = {
            Require.NUMA: _matrix(graph.same_numa),
            Require.PCIE_SWITCH: _matrix(graph.same_switch),
            Require.NVLINK: _matrix(graph.nvlinked),
        }
        nearness = (
            Locality.NUMA * self._related[Require.NUMA] + Locality.PCIE_SWITCH * self._related[Require.PCIE_SWITCH]
        )
        self._closeness = graph.bandwidth * int(~Locality(0)) + nearness

    def worth(self, gpus: int) -> SetWorth:
        """As `LinkTables` says."""
        columns = self._worth(_one(gpus))
        return SetWorth(
            int(columns[0][0]) / TENTHS, int(columns[1][0]) / TENTHS, int(columns[2][0]) / TENTHS, int(columns[3][0])
        )

    def candidates(self, free: int, size: int, required: int = 0) -> Masks:
        """As `LinkTables` says."""
        others = gpus_of(free & ~required)
        missing = size - required.bit_count()
        if missing < 0 or missing > len(others) or required & ~free:
            return np.empty(0, dtype=np.uint64)
        if comb(len(others), missing) <= _FEW_SETS:
            sets = sorted(required | mask_of(chosen) for chosen in combinations(others, missing))
        else:
            grown = (
                self._grow(free, required | 1 << seed, size, away=away) for seed in others for away in (False, True)
            )
            sets = sorted(set(grown))
        return np.array(sets, dtype=np.uint64)

    def order(self, sets: Masks) -> Integers:
        """As `LinkTables` says."""
        return dense_order(self._worth(sets))

    def bandwidths(self, sets: Masks) -> Floats:
        """As `LinkTables` says."""
        return self._worth(sets)[0] / TENTHS

    def pair_sums(self, sets: Masks) -> Floats:
        """As `LinkTables` says."""
        return self._pair_sums(self._members(sets)) / TENTHS

    def meets(self, require: Require, sets: Masks) -> Flags:
        """As `LinkTables` says."""
        if require is Require.ANY:
            return np.ones(len(sets), dtype=np.bool_)
        return _every_pair(self._members(sets), self._related[require])

    def leftovers(self, free: Masks, demand: Demand) -> Floats:
        """As `LinkTables` says."""
        members = self._members(free)
        alone = dict(demand.shares).get(1, 0.0)
        together = sum(share for size, share in demand.shares if 1 < size <= len(self))
        if alone + together == 0:
            return np.zeros(len(free))
        linked = self._pair_sums(members) / self._pair_sums(np.ones((1, len(self)), dtype=np.bool_))
        value: Floats = (alone * members.mean(axis=1) + together * linked) / (alone + together)
        return value

    def leftover(self, free: int, demand: Demand) -> float:
        """As `LinkTables` says."""
        return float(self.leftovers(_one(free), demand)[0])

    def _members(self, sets: Masks) -> _Members:
        bits = np.uint64(1) << np.arange(len(self), dtype=np.uint64)
        members: _Members = (sets.astype(np.uint64)[:, np.newaxis] & bits) != 0
        return members

    def _worth(self, sets: Masks) -> tuple[Integers, Integers, Integers, Integers]:
        members = self._members(sets)
        return *self._rings(members), self._pair_sums(members), self._locality(members)

    def _pair_sums(self, members: _Members) -> Integers:
        sums: Integers = ((members @ self.graph.bandwidth) * members).sum(axis=1) // 2
        return sums

    def _locality(self, members: _Members) -> Integers:
        has_nic = np.zeros(len(members), dtype=np.bool_)
        for reach in self.graph.nics:
            has_nic |= ~np.any(members & ~self._members(_one(reach)), axis=1)
        locality: Integers = (
            Locality.NUMA * _every_pair(members, self._related[Require.NUMA])
            + Locality.PCIE_SWITCH * _every_pair(members, self._related[Require.PCIE_SWITCH])
            + Locality.NIC * has_nic
        ).astype(np.int64)
        locality[members.sum(axis=1) < PAIR] = 0
        return locality

    def _rings(self, members: _Members) -> tuple[Integers, Integers]:
        """The bottleneck and the sum of a good ring through each set; all sets have one size."""
        size = int(members[0].sum()) if len(members) else 0
        bottleneck = np.zeros(len(members), dtype=np.int64)
        total = np.zeros(len(members), dtype=np.int64)
        if size < PAIR:
            return bottleneck, total
        gpus = np.nonzero(members)[1].reshape(len(members), size)
        for start in gpus.T[:_RING_STARTS]:
            slowest, summed = self._ring_from(members, start)
            better = (slowest > bottleneck) | ((slowest == bottleneck) & (summed > total))
            bottleneck[better], total[better] = slowest[better], summed[better]
        return (bottleneck, total // 2) if size == PAIR else (bottleneck, total)

    def _ring_from(self, members: _Members, start: Integers) -> tuple[Integers, Integers]:
        rows = np.arange(len(members))
        unvisited = members.copy()
        unvisited[rows, start] = False
        here = start
        slowest = np.full(len(members), np.iinfo(np.int64).max)
        summed = np.zeros(len(members), dtype=np.int64)
        while unvisited.any():
            following = np.where(unvisited, self.graph.bandwidth[here], -1).argmax(axis=1)
            link = self.graph.bandwidth[here, following]
            slowest, summed, here = np.minimum(slowest, link), summed + link, following
            unvisited[rows, here] = False
        link = self.graph.bandwidth[here, start]
        return np.minimum(slowest, link), summed + link

    def _grow(self, free: int, chosen: int, size: int, *, away: bool) -> int:
        """A set around `chosen`: of the GPUs closest to it, or of those that are besides linked least to the rest."""
        while chosen.bit_count() < size:
            outside = np.array(gpus_of(free & ~chosen))
            closeness = self._closeness[np.ix_(outside, np.array(gpus_of(chosen)))].sum(axis=1)
            if away:
                closeness = closeness - self._closeness[np.ix_(outside, outside)].sum(axis=1)
            chosen |= 1 << int(outside[closeness.argmax()])
        return chosen


def _one(mask: int) -> Masks:
    return np.array([mask], dtype=np.uint64)


def _matrix(related: tuple[int, ...]) -> _Members:
    size = range(len(related))
    return np.array([[bool(others >> gpu & 1) for gpu in size] for others in related], dtype=np.bool_)


def _every_pair(members: _Members, related: _Members) -> Flags:
    """For each set, whether each two of its GPUs are related."""
    apart = ~related & ~np.eye(len(related), dtype=np.bool_)
    kept: Flags = ~np.any((members @ apart) & members, axis=1)
    return kept
