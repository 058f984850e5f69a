"""One set of tables for all nodes whose links are the same."""

from functools import lru_cache
from typing import Final

from gpu_topology.placement import vendor
from gpu_topology.placement.approximate import ApproximateTables
from gpu_topology.placement.exact import ExactTables
from gpu_topology.placement.link_graph import LinkGraph, link_graph_of
from gpu_topology.placement.tables import LinkTables
from gpu_topology.placement.worth import WorthModel
from gpu_topology.topology import NodeTopology

EXACT_GPUS: Final = 16
"""The largest machine whose sets are all looked at: 65,536 of them."""

EXACT_BANDWIDTHS: Final = 32
"""The most different bandwidths for which they are, as each costs a pass over all sets. Real machines have fewer than
ten; a broken description could claim 120."""

_KINDS_KEPT: Final = 64
"""Kinds of machine whose tables are kept: some 10 MiB for one with 16 GPUs, 40 KiB for one with 8."""


def tables_of(topology: NodeTopology, model: str = "ring") -> LinkTables:
    """The tables for a node, shared with every node whose links are the same.

    The first sight of a kind of machine builds them: some milliseconds with 8 GPUs, about a second with 16.

    Args:
        topology: the node.
        model: a `WorthModel`: "ring", or "effbw" for machines with single and double NVLinks.

    Raises:
        ValueError: no such model.
        PlacementError: the model does not fit the machine, or it has more than 64 GPUs.
    """
    return _tables(link_graph_of(topology), WorthModel(model))


@lru_cache(maxsize=_KINDS_KEPT)
def _tables(graph: LinkGraph, model: WorthModel) -> LinkTables:
    different = {bandwidth for row in graph.bandwidth_tenths for bandwidth in row}
    vendor.prepare(min(len(graph), EXACT_GPUS))
    if len(graph) <= EXACT_GPUS and len(different) <= EXACT_BANDWIDTHS:
        return ExactTables(graph, model)
    return ApproximateTables(graph, model)
