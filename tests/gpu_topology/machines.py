"""Machines to test with: a handful of real kinds, and any at all for hypothesis."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Gpu, Nic, NodeTopology

V100 = "Tesla V100-SXM2-32GB"
A100_PCIE = "NVIDIA A100 80GB PCIe"
H100 = "NVIDIA H100 80GB HBM3"

_CUBE_MESH_DOUBLE = ((0, 3), (0, 4), (1, 2), (1, 5), (2, 3), (4, 7), (5, 6), (6, 7))
_CUBE_MESH_SINGLE = ((0, 1), (0, 2), (1, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7))


def machine(  # noqa: PLR0913 - each has a default and is named
    size: int,
    *,
    nvlinks: Callable[[int, int], int] = lambda _first, _second: 0,
    pcie: Callable[[int, int], PcieAncestor | None] = lambda _first, _second: PcieAncestor.SYS,
    numa: Callable[[int], int | None] = lambda _gpu: None,
    product: str | None = None,
    nvswitch: bool | None = False,
    nics: Sequence[Nic] = (),
) -> NodeTopology:
    """A machine whose links are given for each pair, the smaller index first."""
    gpus = range(size)
    return NodeTopology(
        gpus=tuple(Gpu(product=product, numa_node=numa(gpu)) for gpu in gpus),
        pcie=tuple(tuple(None if i == j else pcie(min(i, j), max(i, j)) for j in gpus) for i in gpus),
        nvlinks=tuple(tuple(0 if i == j else nvlinks(min(i, j), max(i, j)) for j in gpus) for i in gpus),
        nvswitch=nvswitch,
        nics=tuple(nics),
    )


def dgx_1v() -> NodeTopology:
    """Eight V100 in a hybrid cube mesh, as `nvidia-smi topo -m` shows it: no PCIe ancestor for NVLink pairs."""
    links = dict.fromkeys(_CUBE_MESH_DOUBLE, 2) | dict.fromkeys(_CUBE_MESH_SINGLE, 1)
    return machine(
        8,
        nvlinks=lambda first, second: links.get((first, second), 0),
        pcie=lambda first, second: None if (first, second) in links else PcieAncestor.SYS,
        numa=lambda gpu: gpu // 4,
        product=V100,
    )


def nvswitch_box(size: int = 8) -> NodeTopology:
    """H100s that an NVSwitch links all alike, two to a PCIe switch, half of them in each socket."""
    return machine(
        size,
        nvlinks=lambda _first, _second: 18,
        pcie=_two_sockets(size),
        numa=lambda gpu: gpu // (size // 2),
        product=H100,
        nvswitch=True,
    )


def bridged_pairs(pairs: int = 4) -> NodeTopology:
    """PCIe cards of which each two share an NVLink bridge."""
    return machine(
        2 * pairs,
        nvlinks=lambda first, second: 12 if first // 2 == second // 2 else 0,
        pcie=_two_sockets(2 * pairs),
        numa=lambda gpu: gpu // pairs,
        product=A100_PCIE,
    )


def pcie_box(size: int = 8) -> NodeTopology:
    """Cards without NVLink, two to a PCIe switch, half of them in each socket, a NIC beside the first two."""
    near = tuple(PcieAncestor.PIX if gpu < 2 else PcieAncestor.SYS for gpu in range(size))
    return machine(
        size,
        pcie=_two_sockets(size),
        numa=lambda gpu: gpu // (size // 2),
        product=A100_PCIE,
        nics=[Nic("mlx5_0", near)],
    )


def relabelled(topology: NodeTopology, order: Sequence[int]) -> NodeTopology:
    """The same machine with its GPUs in another order: the new GPU i is the old `order[i]`."""
    return replace(
        topology,
        gpus=tuple(topology.gpus[old] for old in order),
        pcie=tuple(tuple(topology.pcie[i][j] for j in order) for i in order),
        nvlinks=tuple(tuple(topology.nvlinks[i][j] for j in order) for i in order),
        nics=tuple(Nic(nic.name, tuple(nic.pcie[old] for old in order)) for nic in topology.nics),
    )


def _two_sockets(size: int) -> Callable[[int, int], PcieAncestor]:
    def ancestor(first: int, second: int) -> PcieAncestor:
        if first // 2 == second // 2:
            return PcieAncestor.PIX
        return PcieAncestor.NODE if first // (size // 2) == second // (size // 2) else PcieAncestor.SYS

    return ancestor


@st.composite
def machines(draw: st.DrawFn, min_gpus: int = 1, max_gpus: int = 7, most_links: int = 3) -> NodeTopology:
    """Any machine with up to so many NVLinks a pair; few different links, so that ties are common."""
    size = draw(st.integers(min_gpus, max_gpus))
    pairs = [(first, second) for second in range(size) for first in range(second)]
    links = {pair: draw(st.integers(0, most_links)) for pair in pairs}
    ancestors = {pair: draw(st.sampled_from([None, *PcieAncestor])) for pair in pairs}
    nodes = [draw(st.sampled_from([None, 0, 1])) for _ in range(size)]
    nic = tuple(draw(st.sampled_from([None, PcieAncestor.PIX, PcieAncestor.SYS])) for _ in range(size))
    return machine(
        size,
        nvlinks=lambda first, second: links[first, second],
        pcie=lambda first, second: ancestors[first, second],
        numa=lambda gpu: nodes[gpu],
        product=draw(st.sampled_from([None, V100, H100])),
        nics=[Nic("mlx5_0", nic)],
    )
