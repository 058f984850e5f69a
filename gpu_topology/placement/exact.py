"""Exact answers for machines of up to 16 GPUs, by tables over all sets of GPUs."""

from functools import lru_cache
from typing import Final

import numpy as np

from gpu_topology.placement.leftover import DEFAULT_DEMAND, Demand, served_together, usefulness
from gpu_topology.placement.link_graph import TENTHS, LinkGraph
from gpu_topology.placement.masks import Flags, Floats, Integers, Masks, all_pairs, masks_of_size, subsets_of_size
from gpu_topology.placement.tables import LinkTables
from gpu_topology.placement.worth import SetWorth, WorthModel, worth_tables
from gpu_topology.request import Require

_DEMANDS_KEPT: Final = 4
"""Tables of leftovers kept at a time: half a MiB each at 16 GPUs. The expected demand changes rarely."""


class ExactTables(LinkTables):
    """One entry for every set: some 10 MiB at 16 GPUs, 40 KiB at 8.

    The worth of every set and the leftover under the default demand are found at once; the leftover for other request
    sizes when they are first asked for.

    Raises:
        PlacementError: the worth model does not fit the machine.
    """

    exact = True

    def __init__(self, graph: LinkGraph, model: WorthModel) -> None:
        super().__init__(graph, model)
        self._worth = worth_tables(graph, model)
        self._meets = {
            Require.NUMA: all_pairs(graph.same_numa),
            Require.PCIE_SWITCH: all_pairs(graph.same_switch),
            Require.NVLINK: all_pairs(graph.nvlinked),
        }
        self._served = lru_cache(maxsize=None)(self._served_shares)
        self._leftovers = lru_cache(maxsize=_DEMANDS_KEPT)(self._leftover_table)
        self._leftovers(DEFAULT_DEMAND)

    def worth(self, gpus: int) -> SetWorth:
        """As `LinkTables` says."""
        return self._worth.worth(gpus)

    def candidates(self, free: int, size: int, required: int = 0) -> Masks:
        """As `LinkTables` says."""
        sets = subsets_of_size(len(self), free, size)
        return sets[sets & required == required] if required else sets

    def order(self, sets: Masks) -> Integers:
        """As `LinkTables` says."""
        return self._worth.order[sets]

    def bandwidths(self, sets: Masks) -> Floats:
        """As `LinkTables` says."""
        return self._worth.bandwidth_gbps[sets]

    def pair_sums(self, sets: Masks) -> Floats:
        """As `LinkTables` says."""
        return self._worth.pair_sum_tenths[sets] / TENTHS

    def meets(self, require: Require, sets: Masks) -> Flags:
        """As `LinkTables` says."""
        if require is Require.ANY:
            return np.ones(len(sets), dtype=np.bool_)
        return self._meets[require][sets]

    def leftovers(self, free: Masks, demand: Demand) -> Floats:
        """As `LinkTables` says."""
        return self._leftovers(demand)[free]

    def leftover(self, free: int, demand: Demand) -> float:
        """As `LinkTables` says."""
        return float(self._leftovers(demand)[free])

    def _leftover_table(self, demand: Demand) -> Floats:
        table = np.zeros(1 << len(self))
        fitting = [(size, share) for size, share in demand.shares if size <= len(self)]
        for size, share in fitting:
            table += share * self._served(size)
        return table / sum(share for _, share in fitting) if fitting else table

    def _served_shares(self, size: int) -> Floats:
        """For every set of free GPUs, what it can do for requests of one size, as a share of the whole machine's."""
        sets = masks_of_size(len(self), size)
        useful = usefulness(self.bandwidths(sets), self._worth.locality[sets])
        together = served_together(len(self), size, useful)
        shares: Floats = together / together[-1]
        return shares
