"""Machines on which the prediction is compared with the vendor's library; both kinds of links are known of each."""

from collections.abc import Mapping

from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Gpu, NodeTopology


def machine(pcie: str, nvlinks: Mapping[tuple[int, int], int], *, nvswitch: bool = False) -> NodeTopology:
    """A machine from the upper triangle of its PCIe matrix, one GPU a line, and the NVLinks of its linked pairs."""
    triangle = [line.split() for line in pcie.strip().splitlines()]
    size = len(triangle) + 1

    def ancestor(first: int, second: int) -> PcieAncestor | None:
        low, high = sorted((first, second))
        return None if low == high else PcieAncestor[triangle[low][high - low - 1]]

    def links(first: int, second: int) -> int:
        return nvlinks.get((first, second), 0) or nvlinks.get((second, first), 0)

    places = range(size)
    return NodeTopology(
        gpus=tuple(Gpu() for _ in places),
        pcie=tuple(tuple(ancestor(first, second) for second in places) for first in places),
        nvlinks=tuple(tuple(links(first, second) for second in places) for first in places),
        nvswitch=nvswitch,
    )


_TWO_SOCKETS = """
    PIX {near} {near} SYS SYS SYS SYS
    {near} {near} SYS SYS SYS SYS
    PIX SYS SYS SYS SYS
    SYS SYS SYS SYS
    PIX {near} {near}
    {near} {near}
    PIX
"""

DGX_1V = machine(
    _TWO_SOCKETS.format(near="PHB"),
    {
        (0, 3): 2, (0, 4): 2, (1, 2): 2, (1, 5): 2, (2, 3): 2, (4, 7): 2, (5, 6): 2, (6, 7): 2,
        (0, 1): 1, (0, 2): 1, (1, 3): 1, (2, 6): 1, (3, 7): 1, (4, 5): 1, (4, 6): 1, (5, 7): 1,
    },
)  # fmt: skip

FOUR_BRIDGES = machine(
    "\n".join(" ".join(["SYS"] * pairs) for pairs in range(7, 0, -1)), {(0, 1): 4, (2, 3): 4, (4, 5): 4, (6, 7): 4}
)

UNEVEN_BRIDGES = machine(
    """
    PIX PIX PIX SYS SYS SYS SYS
    PIX PIX SYS SYS SYS SYS
    PIX SYS SYS SYS SYS
    SYS SYS SYS SYS
    PIX PIX PIX
    PIX PIX
    PIX
    """,
    {(0, 2): 8, (1, 3): 8, (4, 7): 6, (5, 6): 4},
)

BRIDGE_ACROSS_SOCKETS = machine(
    """
    NODE NODE SYS SYS SYS SYS SYS
    NODE SYS SYS SYS SYS SYS
    SYS SYS SYS SYS SYS
    NODE NODE NODE NODE
    NODE NODE NODE
    NODE NODE
    NODE
    """,
    {(1, 2): 12, (0, 5): 12, (3, 4): 12, (6, 7): 12},
)

PCIE_SWITCHES = machine(_TWO_SOCKETS.format(near="PXB"), {})

UNEVEN_SOCKETS = machine(
    """
    NODE NODE PHB NODE NODE SYS SYS
    PHB NODE NODE NODE SYS SYS
    NODE NODE NODE SYS SYS
    NODE NODE SYS SYS
    PHB SYS SYS
    SYS SYS
    PHB
    """,
    {},
)

FOUR_MIXED = machine(
    """
    PHB NODE SYS
    NODE SYS
    PSB
    """,
    {(2, 3): 4, (0, 2): 1},
)

HGX_A100 = machine(
    """
    PXB NODE NODE SYS SYS SYS SYS
    NODE NODE SYS SYS SYS SYS
    PXB SYS SYS SYS SYS
    SYS SYS SYS SYS
    PXB NODE NODE
    NODE NODE
    PXB
    """,
    {(first, second): 12 for first in range(8) for second in range(first)},
    nvswitch=True,
)

MACHINES = {
    "DGX-1V": DGX_1V,
    "four bridges": FOUR_BRIDGES,
    "uneven bridges": UNEVEN_BRIDGES,
    "a bridge across the sockets": BRIDGE_ACROSS_SOCKETS,
    "PCIe switches": PCIE_SWITCHES,
    "uneven sockets": UNEVEN_SOCKETS,
    "four GPUs with mixed links": FOUR_MIXED,
    "HGX A100": HGX_A100,
}
