"""The schedulers that are compared, by name."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from simulator.allocators import any_gpus, best_set, vendor_set
from simulator.cluster import AllocatorFactory
from simulator.engine import Policy
from simulator.policies.extended import Extended
from simulator.policies.kubernetes import LeastAllocated, MostAllocated
from simulator.policies.mapa import Greedy, Preserve
from simulator.policies.packing import BestFit, FirstFit, Fragmentation, RandomNode
from simulator.policies.socket import Socket


class Entry(NamedTuple):
    """A policy that can be asked for by name.

    Attributes:
        summary: what it does, for a table.
        make: makes it from the seed of its random choices.
        allocator: makes the nodes' allocators from a seed; not asked where the policy chooses GPUs itself.
    """

    summary: str
    make: Callable[[int], Policy]
    allocator: Callable[[int], AllocatorFactory]


POLICIES: Final[Mapping[str, Entry]] = {
    "extender-best": Entry("this project, its choice enforced in the node", Extended.enforcing, best_set),
    "extender": Entry("this project, the vendor's plugin chooses in the node", Extended.advising, vendor_set),
    "extender-packing": Entry("as extender-best, in-tree score MostAllocated", Extended.packing, best_set),
    "vendor": Entry("kube-scheduler's default, the vendor's plugin chooses in the node", LeastAllocated, vendor_set),
    "default": Entry("kube-scheduler's default, the kubelet takes any GPUs", LeastAllocated, any_gpus),
    "most-allocated": Entry("kube-scheduler's MostAllocated for GPUs, vendor's plugin", MostAllocated, vendor_set),
    "random": Entry("any node with room, vendor's plugin", RandomNode, vendor_set),
    "first-fit": Entry("the first node with room, vendor's plugin", FirstFit, vendor_set),
    "best-fit": Entry("the node with the fewest free GPUs, vendor's plugin", BestFit, vendor_set),
    "fgd": Entry("least growth of fragmentation (FGD), vendor's plugin", Fragmentation, vendor_set),
    "mapa-greedy": Entry("the set with the largest sum of bandwidth (MAPA)", Greedy, vendor_set),
    "mapa-preserve": Entry("best bandwidth, or most bandwidth left (MAPA)", Preserve, vendor_set),
    "socket": Entry("one socket if it fits, else any GPUs", Socket, vendor_set),
}
OURS: Final = ("extender-best", "extender", "extender-packing")
"""Those that call this project's placement; all others are baselines."""

__all__ = ["OURS", "POLICIES", "Entry"]
