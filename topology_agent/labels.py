"""Labels of a node, by which people and selectors choose: what its GPUs are joined by, how many, which fabric. Pure."""

import re
from typing import Final

from gpu_topology.interconnect import interconnect_of
from gpu_topology.topology import NodeTopology

INTERCONNECT_LABEL: Final = "gpu-scheduler/interconnect"
GPU_COUNT_LABEL: Final = "gpu-scheduler/gpu-count"
FABRIC_CLIQUE_LABEL: Final = "gpu-scheduler/fabric-clique"
OWN_LABELS: Final = (INTERCONNECT_LABEL, GPU_COUNT_LABEL, FABRIC_CLIQUE_LABEL)
"""The labels that an agent writes."""
LONGEST_VALUE: Final = 63
"""Characters that the API server takes as a label's value."""


def labels_of(topology: NodeTopology) -> dict[str, str]:
    """The labels that are true of a node; one that is not known, or means nothing there, is left out."""
    values = {
        INTERCONNECT_LABEL: interconnect_of(topology),
        GPU_COUNT_LABEL: str(len(topology)),
        FABRIC_CLIQUE_LABEL: None if topology.clique is None else _label_value(topology.clique),
    }
    return {label: str(value) for label, value in values.items() if value}


def _label_value(text: str) -> str:
    """The text as a label's value: letters, digits, "-", "_" and ".", with a letter or digit at both ends."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:LONGEST_VALUE].strip("-_.")
