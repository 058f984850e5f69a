"""A node's GPUs and the links between them.

Everything here is a plain immutable value. A GPU is known by its position 0..n-1, which is the index that NVML,
`nvidia-smi` and the annotations use.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import networkx as nx

from gpu_topology.errors import TopologyError
from gpu_topology.links import PcieAncestor, nvlink_gbps, pcie_gbps, staged_gbps

Ancestors: TypeAlias = tuple[PcieAncestor | None, ...]
"""The PCIe ancestor that a device shares with each GPU; None where unknown, and with itself."""
PeerAccess: TypeAlias = tuple[bool | None, ...]
"""Whether a GPU and each GPU can reach one another's memory; None where unknown, and with itself."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. None is unknown; what the GPU is doing at present is `gpu_topology.contract.NodeState`'s business."""

    uuid: str | None = None
    product: str | None = None
    pci_bus_id: str | None = None
    numa_node: int | None = None
    cpu_affinity: str | None = None
    """CPUs near this GPU, as the kernel lists them: "0-19,40-59"."""
    memory_mib: int | None = None
    mig_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card and the PCIe ancestor that it shares with each GPU."""

    name: str
    pcie: Ancestors


@dataclass(frozen=True)
class NodeTopology:
    """The GPUs of one node and how each pair is linked.

    Attributes:
        gpus: the GPUs, in index order.
        pcie: n x n; the PCIe ancestor of every pair. None on the diagonal, and where the source hides it:
            `nvidia-smi topo -m` shows only the NVLinks of a pair that has any.
        nvlinks: n x n; how many active NVLinks join the pair. On an NVSwitch machine every GPU reaches every other
            through all of its links, so a pair has as many as the port with fewer.
        nvswitch: whether NVLinks go through an NVSwitch; None where the source cannot tell or no NVLink exists.
        nvlinks_complete: False where the source may have left NVLinks out, as `nvidia-smi topo -mp` does: then every
            count is a lower bound.
        nics: network cards.
        clique: "<cluster UUID>.<clique id>" of the multi-node NVLink fabric that this node belongs to, or None.
        p2p: n x n; whether the pair has peer-to-peer access, over whichever link. Without it everything that one has
            for the other is staged in the host's memory. All unknown where it is not given.

    Raises:
        TopologyError: a matrix has the wrong shape, is not symmetric, or speaks of a GPU and itself.
    """

    gpus: tuple[Gpu, ...]
    pcie: tuple[Ancestors, ...]
    nvlinks: tuple[tuple[int, ...], ...]
    nvswitch: bool | None = None
    nvlinks_complete: bool = True
    nics: tuple[Nic, ...] = ()
    clique: str | None = None
    p2p: tuple[PeerAccess, ...] = ()

    def __post_init__(self) -> None:
        size = len(self.gpus)
        if not self.p2p:
            # So that a topology of which nothing is known has one form, and readers need not ask.
            object.__setattr__(self, "p2p", ((None,) * size,) * size)
        _require_symmetric("pcie", self.pcie, size)
        _require_symmetric("nvlinks", self.nvlinks, size)
        _require_symmetric("p2p", self.p2p, size)
        for index in range(size):
            if self.nvlinks[index][index] != 0:
                raise TopologyError(f"nvlinks: GPU {index} is said to be linked to itself")
            if self.pcie[index][index] is not None:
                raise TopologyError(f"pcie: GPU {index} is said to share an ancestor with itself")
            if self.p2p[index][index] is not None:
                raise TopologyError(f"p2p: GPU {index} is said to have access to itself")
        if any(count < 0 for row in self.nvlinks for count in row):
            raise TopologyError("nvlinks: a count is below 0")
        for nic in self.nics:
            if len(nic.pcie) != size:
                raise TopologyError(f"NIC {nic.name}: {len(nic.pcie)} PCIe ancestors for {size} GPUs")

    def __len__(self) -> int:
        return len(self.gpus)

    def bandwidth_gbps(self, first: int, second: int) -> float:
        """GB/s in one direction between two different GPUs: over NVLink where there is any, else over PCIe.

        A pair that is known to have no peer-to-peer access goes through the host's memory, whatever links it has; one
        of which it is unknown counts as having it. A pair whose PCIe ancestor is unknown counts as the farthest,
        `SYS`. Parallel NVLinks add up. For GPUs of different models the slower end decides.
        """
        return self._bandwidths[first][second]

    @cached_property
    def _bandwidths(self) -> tuple[tuple[float, ...], ...]:
        size = range(len(self.gpus))
        return tuple(tuple(0.0 if i == j else self._bandwidth(i, j) for j in size) for i in size)

    def _bandwidth(self, first: int, second: int) -> float:
        products = {self.gpus[first].product, self.gpus[second].product}
        if self.p2p[first][second] is False:
            return min(staged_gbps(self.pcie[first][second], product) for product in products)
        if links := self.nvlinks[first][second]:
            return round(links * min(map(nvlink_gbps, products)), 1)
        return min(pcie_gbps(self.pcie[first][second], product) for product in products)

    def graph(self) -> "nx.Graph[int]":
        """The GPUs as nodes and every pair as an edge.

        Nodes carry `gpu` (a `Gpu`). Edges carry `kind` ("nvswitch", "nvlink" or the ancestor's name such as "PIX";
        "unknown" where neither is known), `nvlinks`, `pcie` (a `PcieAncestor` or None) and `bandwidth_gbps`.
        """
        graph: nx.Graph[int] = nx.Graph()
        for index, gpu in enumerate(self.gpus):
            graph.add_node(index, gpu=gpu)
        for first, second in self.pairs():
            graph.add_edge(
                first,
                second,
                kind=self.link_kind(first, second),
                nvlinks=self.nvlinks[first][second],
                pcie=self.pcie[first][second],
                bandwidth_gbps=self.bandwidth_gbps(first, second),
            )
        return graph

    def link_kind(self, first: int, second: int) -> str:
        """The best link of a pair: "nvswitch", "nvlink", a PCIe ancestor's name, or "unknown"."""
        if self.nvlinks[first][second]:
            return "nvswitch" if self.nvswitch else "nvlink"
        ancestor = self.pcie[first][second]
        return "unknown" if ancestor is None else ancestor.name

    def token(self, first: int, second: int) -> str:
        """The cell that `nvidia-smi topo -m` shows for a pair: "X", "NV2", "PIX"...; "?" where nothing is known."""
        if first == second:
            return "X"
        if self.nvlinks[first][second]:
            return f"NV{self.nvlinks[first][second]}"
        ancestor = self.pcie[first][second]
        return "?" if ancestor is None else ancestor.name

    def pairs(self) -> Iterable[tuple[int, int]]:
        """Every pair of different GPUs once, the smaller index first."""
        size = len(self.gpus)
        return ((first, second) for first in range(size) for second in range(first + 1, size))


def _require_symmetric(name: str, matrix: tuple[tuple[PcieAncestor | int | None, ...], ...], size: int) -> None:
    if len(matrix) != size or any(len(row) != size for row in matrix):
        raise TopologyError(f"{name}: not {size} x {size}, one row and one column for each GPU")
    for first in range(size):
        for second in range(first):
            there, back = matrix[second][first], matrix[first][second]
            if there != back:
                raise TopologyError(
                    f"{name}: GPU {second} and GPU {first} are linked by {_shown(there)} one way and "
                    f"{_shown(back)} the other"
                )


def _shown(cell: PcieAncestor | int | None) -> str:
    return cell.name if isinstance(cell, PcieAncestor) else str(cell)
