"""How the GPUs of the cluster stand, by kind of machine: what is free, and what the free ones are good for. Pure."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from extender.book import NodeBook
from extender.groups import Situation
from extender.reports import MachineKind
from gpu_topology.placement import Demand, fragmented


class GpuState(StrEnum):
    """What a GPU is doing. Each GPU of a known node is in exactly one state."""

    FREE = "free"
    """A pod could get it now."""
    TAKEN = "taken"
    """A pod holds it, or is expected to."""
    SLICED = "sliced"
    """It is cut into MIG devices or shared, in use or not, healthy or not."""
    OUT_OF_SERVICE = "out-of-service"
    """It is unhealthy or cordoned, whoever holds it."""
    LEFT_OUT = "left-out"
    """It is free, but its node gets no GPU pod for a while because pods keep failing there."""


@dataclass(slots=True)
class Stock:
    """The GPUs of all known nodes of one kind.

    Attributes:
        gpus: how many are in each state.
        largest_set: the most GPUs that one pod could get, all on one node.
        fragmented: how many of the free GPUs the average request cannot use (`gpu_topology.placement.fragmentation`).
    """

    gpus: Counter[GpuState] = field(default_factory=Counter)
    largest_set: int = 0
    fragmented: float = 0.0


def stock_of(
    books: Iterable[tuple[str, NodeBook]], left_out: Container[str], demand: Demand
) -> Mapping[MachineKind, Stock]:
    """The stock of each kind of machine.

    Nodes of which too little is known to say what is free there are in none.

    Args:
        books: the nodes with their pages.
        left_out: nodes that get no GPU pod for a while.
        demand: the request sizes that are expected next.
    """
    # Thousands of nodes are in a few hundred situations: each is looked at once.
    nodes: Counter[tuple[MachineKind, Situation, bool]] = Counter()
    for name, book in books:
        if isinstance(book.group, Situation) and book.report.machine is not None:
            nodes[book.report.machine.kind, book.group, name in left_out] += 1
    stocks: defaultdict[MachineKind, Stock] = defaultdict(Stock)
    for (kind, situation, is_left_out), number in nodes.items():
        _add(stocks[kind], situation, number, demand, is_left_out=is_left_out)
    return stocks


def _add(stock: Stock, situation: Situation, nodes: int, demand: Demand, *, is_left_out: bool) -> None:
    free, usable = situation.free.bit_count(), situation.usable.bit_count()
    sliced = len({pool.gpu for pool in situation.slices or () if pool.gpu is not None})
    stock.gpus[GpuState.TAKEN] += nodes * (usable - free)
    stock.gpus[GpuState.SLICED] += nodes * sliced
    stock.gpus[GpuState.OUT_OF_SERVICE] += nodes * (len(situation.tables) - usable - sliced)
    if is_left_out:
        stock.gpus[GpuState.LEFT_OUT] += nodes * free
        return
    stock.gpus[GpuState.FREE] += nodes * free
    stock.largest_set = max(stock.largest_set, free)
    stock.fragmented += nodes * fragmented(free, demand)
