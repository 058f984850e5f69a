"""Nodes that no decision can tell apart.

A cluster has thousands of nodes but only as many different situations as it has machine types times sets of free GPUs.
Each situation is one object, which all nodes in it share, so that what was found out about one node need not be found
out again for the next.
"""

from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakValueDictionary

from gpu_topology.contract import Allocation
from gpu_topology.placement import Assessment, Demand, LinkTables, assess
from gpu_topology.request import GpuRequest


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Situation:
    """What placement has to know of a node.

    Attributes:
        tables: of the machine's links.
        free: mask of the GPUs that a pod could get now.
        usable: mask of the GPUs that are healthy, free or not.
        allocation: who chooses among the free GPUs.
    """

    tables: LinkTables
    free: int
    usable: int
    allocation: Allocation

    @property
    def fullness(self) -> float:
        """The share of the usable GPUs that are not free, 0 to 1."""
        usable = self.usable.bit_count()
        return 1 - self.free.bit_count() / usable if usable else 1.0

    def assess(self, request: GpuRequest, demand: Demand) -> Assessment:
        """What a pod would get here, if these request sizes are expected next."""
        return assess(self.tables, self.free, request, self.allocation, demand, usable=self.usable)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Unknown:
    """The situation of nodes of which the same is not known.

    Attributes:
        problem: what, in a sentence for a person.
    """

    problem: str


Group: TypeAlias = Situation | Unknown
"""Nodes that no decision can tell apart. Compared by identity: `Groups` makes one object of equal ones."""


class Groups:
    """Gives equal situations the same object, for as long as somebody refers to it."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[tuple[int, int, int, Allocation], Situation] = WeakValueDictionary()
        self._unknown: WeakValueDictionary[str, Unknown] = WeakValueDictionary()

    def known(self, tables: LinkTables, free: int, usable: int, allocation: Allocation) -> Situation:
        """The group of the nodes in this situation."""
        # Tables are compared by identity: equal links share one. Their id stays taken while the group refers to them.
        key = (id(tables), free, usable, allocation)
        situation = self._known.get(key)
        if situation is None:
            situation = self._known[key] = Situation(tables, free, usable, allocation)
        return situation

    def unknown(self, problem: str) -> Unknown:
        """The group of the nodes that are unknown for this reason."""
        unknown = self._unknown.get(problem)
        if unknown is None:
            unknown = self._unknown[problem] = Unknown(problem)
        return unknown
