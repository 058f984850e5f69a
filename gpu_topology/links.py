"""The links between two GPUs, and what each carries.

Figures are GB/s in one direction, one pair at a time on an idle machine: what a copy between the two GPUs
reaches, not what the specification promises.
"""

from enum import IntEnum
from typing import Final


class PcieAncestor(IntEnum):
    """What two devices have in common in the PCIe tree, from the farthest to the nearest.

    The names are those of `nvidia-smi topo -m`. NVML counts the other way round
    (`NVML_TOPOLOGY_SYSTEM` 50 ... `NVML_TOPOLOGY_INTERNAL` 0).
    """

    SYS = 0
    """Through the link between the sockets. Drivers before 384 call it SOC."""
    NODE = 1
    """Through the link between the PCIe host bridges of one NUMA node."""
    PHB = 2
    """Through one PCIe host bridge: the CPU."""
    PXB = 3
    """Through several PCIe switches, without a host bridge."""
    PIX = 4
    """Through one PCIe switch."""
    PSB = 5
    """On the same board."""


PCIE_GENERATION_GBPS: Final = {3: 13.1, 4: 26.3, 5: 54.8}
"""GB/s between two GPUs of one NUMA node over PCIe x16, by PCIe generation.

4: 26.3 measured between RTX 6000 Ada. 5: 54.8 measured between RTX PRO 6000. 3: half of 4, as its signalling rate is
(8 of 16 GT/s); no peer-to-peer copy was measured. One pair at a
time sees no difference between the nearer ancestors; many pairs at once do, which is why sets of equal bandwidth are
compared by locality next.
"""

ACROSS_SOCKETS: Final = 0.92
"""The share of PCIe bandwidth that is left across the sockets: 94.8 of 103.1 GB/s, copying in both directions between
8 RTX PRO 6000."""

UNKNOWN_PCIE_GENERATION: Final = 3
"""What a GPU of unknown model counts as: the slowest, so that nothing is promised that the machine may not keep, and
so that no PCIe path looks better than an NVLink of unknown generation."""


STAGED_GBPS: Final = {3: 11.4, 4: 21.6, 5: 37.1}
"""GB/s between two GPUs that cannot reach one another's memory, by PCIe generation: what one has for the other is
staged in the host's memory.

3: 11.4 measured between TITAN RTX, which have no peer-to-peer access. 4: 21.6 between A100 cards of a virtual machine
that has none; 22.2 between RTX 6000 Ada with it turned off. 5: 37.1 between H100 with it turned off. On one socket and
across two the figures are the same.
"""

STAGED_BEHIND_ONE_SWITCH: Final = 0.87
"""The share of that which is left to two GPUs behind one PCIe switch, where both halves of the copy pass its one link
to the host: 9.9 of 11.4 GB/s between TITAN RTX."""


def pcie_gbps(ancestor: PcieAncestor | None, product: str | None = None) -> float:
    """GB/s in one direction between two GPUs of this model without NVLink.

    Args:
        ancestor: what the two have in common; None is unknown and counts as the farthest.
        product: the name as NVML and `nvidia-smi -L` give it; None is unknown.
    """
    within = PCIE_GENERATION_GBPS[pcie_generation(product)]
    across = ancestor is None or ancestor is PcieAncestor.SYS
    return round(within * ACROSS_SOCKETS, 1) if across else within


def staged_gbps(ancestor: PcieAncestor | None, product: str | None = None) -> float:
    """GB/s in one direction between two GPUs of this model that are known to have no peer-to-peer access.

    Args:
        ancestor: what the two have in common; None is unknown and counts as a PCIe switch, the slowest.
        product: the name as NVML and `nvidia-smi -L` give it; None is unknown.
    """
    rate = STAGED_GBPS[pcie_generation(product)]
    behind_one_switch = ancestor is None or ancestor >= PcieAncestor.PXB
    return round(rate * STAGED_BEHIND_ONE_SWITCH, 1) if behind_one_switch else rate


def pcie_generation(product: str | None) -> int:
    """The PCIe generation of a GPU model, `UNKNOWN_PCIE_GENERATION` where the name does not tell."""
    name = (product or "").upper()
    known = (generation for chip, generation in _PCIE_GENERATION_BY_CHIP if chip in name)
    return next(known, UNKNOWN_PCIE_GENERATION)


_PCIE_GENERATION_BY_CHIP: Final = (
    # First match wins: names that contain another come first.
    ("GB300", 5), ("GB200", 5), ("B300", 5), ("B200", 5), ("B100", 5), ("RTX PRO", 5), ("GEFORCE RTX 50", 5),
    ("GH200", 5), ("H100", 5), ("H200", 5), ("H800", 5), ("H20", 5),
    ("A100", 4), ("A800", 4), ("A30", 4), ("A40", 4), ("A10", 4), ("A16", 4), ("A2", 4), ("L40", 4), ("L4", 4),
    ("RTX A", 4), ("ADA", 4), ("GEFORCE RTX 30", 4), ("GEFORCE RTX 40", 4),
)  # fmt: skip

NVLINK_GBPS: Final = {1: 18.3, 2: 23.9, 3: 22.9, 4: 20.9, 5: 41.5}
"""GB/s of a single NVLink in one direction, by NVLink generation.

1: 18.3 measured over one link between P100s (Dell C4130). 2: 47.9 over two between V100s (same source). 3: 274 to
275 over twelve between A100s (HGX and bridged PCIe cards). 4: 376.5 over eighteen between H100s (HGX). 5: 747 over
eighteen between GB200s.
"""

NVLINK_BRIDGE_GBPS: Final = 14.0
"""GB/s of a single third-generation NVLink of RTX 3090, RTX A6000 and A40: the link rate that
`nvidia-smi nvlink -s` reports, 14.06; no copy was measured."""

UNKNOWN_NVLINK_GBPS: Final = 18.3
"""GB/s of a single NVLink of unknown generation: the slowest that was measured, so that nothing is promised that
the machine may not keep."""

_GENERATION_BY_CHIP: Final = (
    # First match wins: names that contain another come first.
    ("GB300", 5), ("GB200", 5), ("B300", 5), ("B200", 5), ("B100", 5),
    ("GH200", 4), ("H100", 4), ("H200", 4), ("H800", 4), ("H20", 4),
    ("A100", 3), ("A800", 3), ("A30", 3),
    ("V100", 2), ("QUADRO GV100", 2), ("TITAN V", 2),
    ("QUADRO RTX", 2), ("TITAN RTX", 2), ("RTX 2080", 2),
    ("P100", 1),
)  # fmt: skip
_BRIDGED_CHIPS: Final = ("A6000", "A40", "A5500", "A5000", "A4500", "RTX 3090")


def nvlink_generation(product: str | None) -> int | None:
    """The NVLink generation of a GPU model, or None where the name does not tell.

    Args:
        product: the name as NVML and `nvidia-smi -L` give it, such as "NVIDIA H100 80GB HBM3".
    """
    if product is None:
        return None
    name = product.upper()
    if _is_bridged(name):
        return 3
    return next((generation for chip, generation in _GENERATION_BY_CHIP if chip in name), None)


def nvlink_gbps(product: str | None) -> float:
    """GB/s in one direction of a single NVLink of this GPU model."""
    if product is not None and _is_bridged(product.upper()):
        return NVLINK_BRIDGE_GBPS
    generation = nvlink_generation(product)
    return UNKNOWN_NVLINK_GBPS if generation is None else NVLINK_GBPS[generation]


def _is_bridged(name: str) -> bool:
    """Whether the name is of a workstation-class card, whose third-generation links run at the lower rate."""
    words = name.replace("-", " ").split()
    return any(chip in words or (" " in chip and chip in name) for chip in _BRIDGED_CHIPS)
