"""What joins the GPUs of a machine: the class of topology that people and settings speak of."""

from enum import StrEnum

from gpu_topology.topology import NodeTopology


class Interconnect(StrEnum):
    """The fastest links that a machine has, and how far they reach."""

    NVSWITCH = "nvswitch"
    """Every GPU reaches every other through NVSwitches."""
    NVLINK_MESH = "nvlink-mesh"
    """NVLinks go from GPU to GPU, and some GPU has several partners."""
    NVLINK_PAIRS = "nvlink-pairs"
    """No GPU has more than one partner: bridged cards."""
    PCIE = "pcie"
    """There is no NVLink."""


def interconnect_of(topology: NodeTopology) -> Interconnect | None:
    """What joins the GPUs; None for a single GPU, and where the source left open what it is."""
    partners = [sum(links > 0 for links in row) for row in topology.nvlinks]
    if len(topology) < 2:  # noqa: PLR2004  a pair
        return None
    if not any(partners):
        return Interconnect.PCIE if topology.nvlinks_complete else None
    if topology.nvswitch:
        return Interconnect.NVSWITCH
    if max(partners) == 1 and topology.nvlinks_complete:
        return Interconnect.NVLINK_PAIRS
    return Interconnect.NVLINK_MESH if topology.nvswitch is False else None
