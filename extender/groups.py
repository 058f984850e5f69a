"""Nodes that no decision can tell apart.

A cluster has thousands of nodes but only as many different situations as it has machine types times sets of free GPUs.
Each situation is one object, which all nodes in it share, so that what was found out about one node need not be found
out again for the next.
"""

from dataclasses import dataclass, replace
from typing import TypeAlias
from weakref import WeakValueDictionary

from gpu_topology.contract import Allocation
from gpu_topology.placement import Assessment, Demand, LinkTables, Split, assess_with_slices, split
from gpu_topology.request import GpuRequest
from gpu_topology.slices import SlicePool

Slices: TypeAlias = tuple[SlicePool, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Situation:
    """What placement has to know of a node.

    Attributes:
        tables: of the machine's links.
        free: mask of the whole GPUs that a pod could get now.
        usable: mask of the whole GPUs that are healthy, free or not.
        allocation: who chooses among the free GPUs.
        slices: of the other GPUs, with how many of them a pod could get now; None where the agent does not say.
    """

    tables: LinkTables
    free: int
    usable: int
    allocation: Allocation
    slices: Slices | None = None

    @property
    def fullness(self) -> float:
        """The share of the usable GPUs that are not free, 0 to 1."""
        usable = self.usable.bit_count()
        return 1 - self.free.bit_count() / usable if usable else 1.0

    def assess(self, request: GpuRequest, demand: Demand) -> Assessment:
        """What a pod would get here, if these request sizes are expected next.

        Where the agent does not say what slices there are, they are left out: see `counts`.
        """
        asked = request if self.counts(request) else replace(request, slices=())
        return assess_with_slices(
            self.tables, self.free, asked, self.allocation, demand, slices=self.slices or (), usable=self.usable
        )

    def counts(self, request: GpuRequest) -> bool:
        """Whether all that a request asks for is counted here."""
        return self.slices is not None or not request.slices

    def split(self, request: GpuRequest) -> Split:
        """What a request comes to here, in whole GPUs and in slices."""
        return split(request, self.slices or (), self.usable)


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
        self._known: WeakValueDictionary[tuple[int, int, int, Allocation, Slices | None], Situation] = (
            WeakValueDictionary()
        )
        self._unknown: WeakValueDictionary[str, Unknown] = WeakValueDictionary()

    def known(
        self, tables: LinkTables, free: int, usable: int, allocation: Allocation, slices: Slices | None = None
    ) -> Situation:
        """The group of the nodes in this situation."""
        # Tables are compared by identity: equal links share one. Their id stays taken while the group refers to them.
        key = (id(tables), free, usable, allocation, slices)
        situation = self._known.get(key)
        if situation is None:
            situation = self._known[key] = Situation(tables, free, usable, allocation, slices)
        return situation

    def unknown(self, problem: str) -> Unknown:
        """The group of the nodes that are unknown for this reason."""
        unknown = self._unknown.get(problem)
        if unknown is None:
            unknown = self._unknown[problem] = Unknown(problem)
        return unknown
