"""Groups of GPUs that have something in common."""

from collections.abc import Sequence
from typing import TypeAlias

import networkx as nx

from gpu_topology.placement import gpus_of
from gpu_topology.placement.link_graph import LinkGraph

Islands: TypeAlias = list[list[int]]
"""Groups of GPUs, each ascending; every GPU is in one, if need be alone."""


def islands_of(graph: LinkGraph) -> dict[str, Islands]:
    """The groups by NVLink, by PCIe switch and by NUMA node, as far as what joins them is known."""
    return {
        "nvlink": _groups(graph.nvlinked),
        "pcie_switch": _groups(graph.same_switch),
        "numa": _groups(graph.same_numa),
    }


def _groups(related: Sequence[int]) -> Islands:
    """Groups in which each GPU is related to another, directly or by way of others.

    Args:
        related: for each GPU, the mask of the GPUs that it is related to.
    """
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(related)))
    graph.add_edges_from((gpu, peer) for gpu, peers in enumerate(related) for peer in gpus_of(peers))
    return sorted(sorted(group) for group in nx.connected_components(graph))
