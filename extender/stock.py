"""How the GPUs of the cluster stand, by class of machine: what is free, and what the free ones are good for. Pure."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from extender.book import NodeBook
from extender.groups import Situation
from gpu_topology.kind import MachineKind
from gpu_topology.placement import Demand, fragmented


class GpuUse(StrEnum):
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


class MachineClass(NamedTuple):
    """What machines are counted by; kinds that differ in less are counted together.

    Attributes:
        interconnect: the value of the node's label gpu-scheduler/interconnect; "" where it has none.
        model: of the GPUs, as NVML gives it; "mixed" where they differ, "" where it is not known.
    """

    interconnect: str
    model: str


@dataclass(slots=True)
class Stock:
    """The GPUs of all known nodes of one class.

    Attributes:
        gpus: how many are in each state.
        largest_set: the most GPUs that one pod could get, all on one node.
        fragmented: how many of the free GPUs the average request cannot use (`gpu_topology.placement.fragmentation`).
    """

    gpus: Counter[GpuUse] = field(default_factory=Counter)
    largest_set: int = 0
    fragmented: float = 0.0


def stock_of(
    books: Iterable[tuple[str, NodeBook]], left_out: Container[str], demand: Demand
) -> Mapping[MachineClass, Stock]:
    """The stock of each class of machines.

    Nodes of which too little is known to say what is free there are in none.

    Args:
        books: the nodes with their pages.
        left_out: nodes that get no GPU pod for a while.
        demand: the request sizes that are expected next.
    """
    # Thousands of nodes are in a few hundred situations: each is looked at once.
    nodes: Counter[tuple[int, Situation, bool]] = Counter()
    kinds: dict[int, MachineKind] = {}
    for name, book in books:
        if isinstance(book.group, Situation) and book.report.machine is not None:
            kind = book.report.machine.kind
            kinds[id(kind)] = kind  # equal ones are mostly one object, and large ones to hash
            nodes[id(kind), book.group, name in left_out] += 1
    classes = {key: _class_of(kind) for key, kind in kinds.items()}
    stocks: defaultdict[MachineClass, Stock] = defaultdict(Stock)
    for (key, situation, is_left_out), number in nodes.items():
        _add(stocks[classes[key]], situation, number, demand, is_left_out=is_left_out)
    return stocks


def _class_of(kind: MachineKind) -> MachineClass:
    models = {product or "" for product in kind.products}
    return MachineClass(kind.interconnect or "", models.pop() if len(models) == 1 else "mixed")


def _add(stock: Stock, situation: Situation, nodes: int, demand: Demand, *, is_left_out: bool) -> None:
    free, usable = situation.free.bit_count(), situation.usable.bit_count()
    sliced = len({pool.gpu for pool in situation.slices or () if pool.gpu is not None})
    stock.gpus[GpuUse.TAKEN] += nodes * (usable - free)
    stock.gpus[GpuUse.SLICED] += nodes * sliced
    stock.gpus[GpuUse.OUT_OF_SERVICE] += nodes * (len(situation.tables) - usable - sliced)
    if is_left_out:
        stock.gpus[GpuUse.LEFT_OUT] += nodes * free
        return
    stock.gpus[GpuUse.FREE] += nodes * free
    stock.largest_set = max(stock.largest_set, free)
    stock.fragmented += nodes * fragmented(free, demand)
