"""The questions that placement asks of a node's links, whoever answers them.

Exactly, from tables over all sets, up to 16 GPUs (gpu_topology.placement.exact); approximately beyond
(gpu_topology.placement.approximate).
"""

from abc import ABC, abstractmethod

from gpu_topology.placement.leftover import Demand
from gpu_topology.placement.link_graph import LinkGraph
from gpu_topology.placement.masks import Flags, Floats, Integers, Masks
from gpu_topology.placement.worth import SetWorth, WorthModel
from gpu_topology.request import Require


class LinkTables(ABC):
    """What sets of GPUs are worth on nodes with one link graph.

    Shared by all such nodes and by threads: what is filled in later is the same whoever fills it.

    Attributes:
        graph: the links.
        model: how bandwidth is found.
        exact: whether `candidates` misses no set and every value is the true one.
    """

    exact: bool

    def __init__(self, graph: LinkGraph, model: WorthModel) -> None:
        self.graph = graph
        self.model = model

    def __len__(self) -> int:
        return len(self.graph)

    @abstractmethod
    def worth(self, gpus: int) -> SetWorth:
        """What the set with this mask is worth."""

    @abstractmethod
    def candidates(self, free: int, size: int, required: int = 0) -> Masks:
        """The sets of `size` GPUs inside `free` that hold all of `required`, ascending; empty where there is none."""

    @abstractmethod
    def order(self, sets: Masks) -> Integers:
        """One number for the worth of each set: more is better, equal is equal."""

    @abstractmethod
    def bandwidths(self, sets: Masks) -> Floats:
        """`SetWorth.bandwidth_gbps` of each set."""

    @abstractmethod
    def pair_sums(self, sets: Masks) -> Floats:
        """`SetWorth.pair_sum_gbps` of each set."""

    @abstractmethod
    def meets(self, require: Require, sets: Masks) -> Flags:
        """Whether each two GPUs of a set have in common what is required, as far as it is known, for each set.

        A set of one has no pair, and meets every requirement.
        """

    @abstractmethod
    def leftovers(self, free: Masks, demand: Demand) -> Floats:
        """The value of each set of free GPUs to the requests expected next, 0 to 1: see `leftover`."""

    @abstractmethod
    def leftover(self, free: int, demand: Demand) -> float:
        """The value of these free GPUs to the requests expected next.

        For each request size, as many requests as fit are served from the free GPUs, each with a set of its own, as
        well as possible together; one counts half for being served at all and half for how good its set is. The value
        is that total as a share of what the whole machine could give, averaged over the sizes by how often each is
        expected. Sizes larger than the machine are left out.

        It is 1 for the whole machine and 0 for nothing, and no GPU lowers it.
        """
