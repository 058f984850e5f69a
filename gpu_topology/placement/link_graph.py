"""What of a node's topology matters to placement, in a form that nodes with the same links share."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpu_topology.links import PcieAncestor
from gpu_topology.placement.masks import Integers, mask_of
from gpu_topology.placement.vendor import Scores, highest_vendor_scores, vendor_scores
from gpu_topology.topology import NodeTopology

TENTHS = 10
"""Bandwidths are counted in whole tenths of a GB/s, so that sums do not depend on the order of their terms."""


@dataclass(frozen=True)
class LinkGraph:
    """The links of a node, without names, ids and products.

    Two nodes with equal link graphs are worth the same to every pod, so they share one set of tables.

    Attributes:
        bandwidth_tenths: n x n; tenths of GB/s, 0 on the diagonal.
        nvlinks: n x n; how many NVLinks join the pair; 0 where it is known to have no peer-to-peer access over them.
        same_numa: for each GPU, the mask of the other GPUs known to be in its NUMA node.
        same_switch: for each GPU, the mask of the other GPUs known to be reached through PCIe switches alone.
        nics: for each different reach of a NIC, the mask of the GPUs known to be reached through PCIe switches alone.
        pcie_known: whether the PCIe ancestor of every pair is known.
        vendor_scores: n x n; NVIDIA's own score of every pair, to predict what its device plugin picks; the least
            that it can be where the links are not fully known.
        highest_vendor_scores: n x n; the most that it can be.
    """

    bandwidth_tenths: tuple[tuple[int, ...], ...]
    nvlinks: tuple[tuple[int, ...], ...]
    same_numa: tuple[int, ...]
    same_switch: tuple[int, ...]
    nics: tuple[int, ...]
    pcie_known: bool
    vendor_scores: Scores
    highest_vendor_scores: Scores

    def __len__(self) -> int:
        return len(self.bandwidth_tenths)

    @property
    def everything(self) -> int:
        """The mask of all GPUs."""
        return (1 << len(self)) - 1

    @cached_property
    def bandwidth(self) -> Integers:
        """`bandwidth_tenths` as an array."""
        return np.array(self.bandwidth_tenths, dtype=np.int64).reshape(len(self), len(self))

    @cached_property
    def nvlinked(self) -> tuple[int, ...]:
        """For each GPU, the mask of the GPUs that it has NVLinks to."""
        return tuple(mask_of(peer for peer, links in enumerate(row) if links) for row in self.nvlinks)


def link_graph_of(topology: NodeTopology) -> LinkGraph:
    """The link graph of a node."""
    gpus = range(len(topology))
    return LinkGraph(
        bandwidth_tenths=tuple(
            tuple(0 if i == j else round(topology.bandwidth_gbps(i, j) * TENTHS) for j in gpus) for i in gpus
        ),
        nvlinks=tuple(tuple(0 if topology.p2p[i][j] is False else topology.nvlinks[i][j] for j in gpus) for i in gpus),
        same_numa=_related(topology, _in_one_numa_node),
        same_switch=_related(topology, _under_one_switch),
        nics=tuple(sorted({_reach(nic.pcie) for nic in topology.nics} - {0})),
        pcie_known=all(topology.pcie[i][j] is not None for i, j in topology.pairs()),
        vendor_scores=vendor_scores(topology),
        highest_vendor_scores=highest_vendor_scores(topology),
    )


def _related(topology: NodeTopology, relation: Callable[[NodeTopology, int, int], bool]) -> tuple[int, ...]:
    gpus = range(len(topology))
    return tuple(mask_of(j for j in gpus if i != j and relation(topology, i, j)) for i in gpus)


def _in_one_numa_node(topology: NodeTopology, first: int, second: int) -> bool:
    """As the kernel says, or where it does not, as the PCIe ancestor shows; False where neither is known."""
    nodes = topology.gpus[first].numa_node, topology.gpus[second].numa_node
    if None not in nodes:
        return nodes[0] == nodes[1]
    ancestor = topology.pcie[first][second]
    return ancestor is not None and ancestor >= PcieAncestor.NODE


def _under_one_switch(topology: NodeTopology, first: int, second: int) -> bool:
    """As the PCIe ancestor shows, or a NIC that both reach through switches, where NVLink hides the ancestor.

    Without peer-to-peer access they reach one another through the host's memory instead.
    """
    if topology.p2p[first][second] is False:
        return False
    ancestor = topology.pcie[first][second]
    if ancestor is not None:
        return _avoids_the_host_bridge(ancestor)
    return any(
        _avoids_the_host_bridge(nic.pcie[first]) and _avoids_the_host_bridge(nic.pcie[second]) for nic in topology.nics
    )


def _reach(ancestors: tuple[PcieAncestor | None, ...]) -> int:
    return mask_of(gpu for gpu, ancestor in enumerate(ancestors) if _avoids_the_host_bridge(ancestor))


def _avoids_the_host_bridge(ancestor: PcieAncestor | None) -> bool:
    return ancestor is not None and ancestor >= PcieAncestor.PXB
