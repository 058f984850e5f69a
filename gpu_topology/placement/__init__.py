"""The best set of GPUs for a pod on a node, what it costs the others, and how nodes compare.

`tables_of(topology)` gives the tables that all nodes with the same links share; `assess` says what a pod would get on
one of them; `rank` turns the assessments of all candidates into scores.
"""

from collections.abc import Sequence

from gpu_topology.placement import vendor
from gpu_topology.placement.assess import Assessment, assess, best_bandwidth
from gpu_topology.placement.fragmentation import fragmentation, fragmented
from gpu_topology.placement.leftover import DEFAULT_DEMAND, Demand
from gpu_topology.placement.masks import gpus_of, mask_of
from gpu_topology.placement.models import WorthModels
from gpu_topology.placement.rank import merits, rank, scores_of
from gpu_topology.placement.refuse import Refusal, RefusalKind, every_set_keeps
from gpu_topology.placement.sharing import tables_of
from gpu_topology.placement.slices import Split, assess_with_slices, split, taken
from gpu_topology.placement.tables import LinkTables
from gpu_topology.placement.worth import Locality, SetWorth, WorthModel

__all__ = [
    "DEFAULT_DEMAND",
    "Assessment",
    "Demand",
    "LinkTables",
    "Locality",
    "Refusal",
    "RefusalKind",
    "SetWorth",
    "Split",
    "WorthModel",
    "WorthModels",
    "assess",
    "assess_with_slices",
    "best_bandwidth",
    "every_set_keeps",
    "fragmentation",
    "fragmented",
    "gpus_of",
    "mask_of",
    "merits",
    "rank",
    "scores_of",
    "split",
    "tables_of",
    "taken",
    "vendor_pick",
]


def vendor_pick(tables: LinkTables, order: Sequence[int], size: int, required: Sequence[int] = ()) -> tuple[int, ...]:
    """The GPUs that NVIDIA's device plugin picks from one list of the free GPUs (`vendor.pick`).

    Raises:
        VendorCrash: the plugin would crash.
    """
    return vendor.pick(tables.graph.vendor_scores, order, size, required)
