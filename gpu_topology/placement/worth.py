"""What a set of GPUs is worth to a container that gets it."""

from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Final, NamedTuple

import numpy as np

from gpu_topology.placement.effbw import effective_bandwidths
from gpu_topology.placement.link_graph import TENTHS, LinkGraph
from gpu_topology.placement.masks import Floats, Integers, all_pairs, pair_sums
from gpu_topology.placement.rings import best_rings

PAIR: Final = 2
"""The smallest set that has a link."""


class SetWorth(NamedTuple):
    """What a set is worth: compared field by field, in this order, more is better.

    Attributes:
        bandwidth_gbps: what a collective over the set reaches, in GB/s. In the ring model the slowest link of the
            best ring, for two GPUs their link; in the effbw model MAPA's estimate. 0 for a single GPU, which has no
            link to be slow.
        ring_sum_gbps: the sum of the best ring's links, in GB/s; for two GPUs their link once.
        pair_sum_gbps: the sum over all pairs, in GB/s.
        locality: what NVLink does not show, a sum of `Locality`.
    """

    bandwidth_gbps: float
    ring_sum_gbps: float
    pair_sum_gbps: float
    locality: int


class Locality(IntFlag):
    """What all GPUs of a set have in common, as far as it is known; the nearer the more it counts."""

    NIC = 1
    """A NIC that each of them reaches through PCIe switches alone."""
    PCIE_SWITCH = 2
    """Each two reach one another through PCIe switches alone (PIX, PXB or one board)."""
    NUMA = 4
    """One NUMA node."""


class WorthModel(StrEnum):
    """How `bandwidth_gbps` is found."""

    RING = "ring"
    """The bottleneck of the best ring (gpu_topology.placement.rings)."""
    EFFBW = "effbw"
    """MAPA's regression (gpu_topology.placement.effbw)."""


@dataclass(frozen=True)
class WorthTables:
    """The worth of each of the 2^n sets.

    Attributes:
        bandwidth_gbps: GB/s.
        ring_sum_tenths: tenths of GB/s.
        pair_sum_tenths: tenths of GB/s.
        locality: sums of `Locality`.
        order: the same as one number: of two sets the more valuable has the larger, equal ones have the same.
    """

    bandwidth_gbps: Floats
    ring_sum_tenths: Integers
    pair_sum_tenths: Integers
    locality: Integers
    order: Integers

    def worth(self, gpus: int) -> SetWorth:
        """The worth of the set with this mask."""
        return SetWorth(
            float(self.bandwidth_gbps[gpus]),
            int(self.ring_sum_tenths[gpus]) / TENTHS,
            int(self.pair_sum_tenths[gpus]) / TENTHS,
            int(self.locality[gpus]),
        )


def worth_tables(graph: LinkGraph, model: WorthModel) -> WorthTables:
    """The worth of every set of a link graph.

    Raises:
        PlacementError: the model does not fit the machine.
    """
    bottleneck, ring_sum = best_rings(graph.bandwidth)
    bandwidth = bottleneck / TENTHS if model is WorthModel.RING else effective_bandwidths(graph)
    columns = (bandwidth, ring_sum, pair_sums(graph.bandwidth), locality_table(graph))
    return WorthTables(*columns, order=dense_order(columns))


def locality_table(graph: LinkGraph) -> Integers:
    """For every set the sum of its `Locality`; 0 for fewer than two GPUs, which have nothing in common."""
    sets = np.arange(1 << len(graph), dtype=np.int64)
    has_nic = np.zeros(len(sets), dtype=np.bool_)
    for reach in graph.nics:
        has_nic |= (sets & ~reach) == 0
    table: Integers = (
        Locality.NUMA * all_pairs(graph.same_numa)
        + Locality.PCIE_SWITCH * all_pairs(graph.same_switch)
        + Locality.NIC * has_nic
    ).astype(np.int64)
    table[np.bitwise_count(sets) < PAIR] = 0
    return table


def dense_order(columns: tuple[Floats | Integers, ...]) -> Integers:
    """The place of every row when rows are sorted by the first column, then the second, and so on.

    Equal rows have equal places, and no place is left out.
    """
    ascending = np.lexsort(columns[::-1])
    rises = np.zeros(len(ascending), dtype=np.bool_)
    for column in columns:
        in_order = column[ascending]
        rises[1:] |= in_order[1:] != in_order[:-1]
    order = np.empty(len(ascending), dtype=np.int64)
    order[ascending] = np.cumsum(rises)
    return order
