"""Which GPUs each container of a pod gets, chosen in the order in which the kubelet serves them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gpu_topology.placement.leftover import Demand
from gpu_topology.placement.masks import Floats, Integers, Masks
from gpu_topology.placement.tables import LinkTables
from gpu_topology.placement.worth import SetWorth
from gpu_topology.request import Communication, ContainerKind, Wishes

_TRIES: Final = 64
"""How many sets are tried, over all containers of a pod, until each container's hard wishes are kept."""

LIGHT_SHARE: Final = 0.5
"""The share of the best bandwidth that is enough for a pod that communicates lightly."""


@dataclass(frozen=True, slots=True)
class ContainerShape:
    """What placement needs to know of a container: how many GPUs, and how the kubelet treats them."""

    gpus: int
    kind: ContainerKind


@dataclass(frozen=True, slots=True)
class Devices:
    """The GPUs of a node while the kubelet serves one pod's containers, as masks.

    Attributes:
        free: nobody's.
        reusable: init containers of this pod had them; later containers are given these first.
        held: what this pod has been given in all.
    """

    free: int
    reusable: int = 0
    held: int = 0

    def after(self, container: ContainerShape, gpus: int) -> "Devices":
        """The devices once a container has been given these GPUs."""
        kept = self.reusable | gpus if container.kind is ContainerKind.INIT else self.reusable & ~gpus
        return Devices(self.free & ~gpus, kept, self.held | gpus)

    def ranked(self, size: int) -> bool:
        """Whether anybody is asked which GPUs a container of this size gets.

        The kubelet takes what is reusable without asking; if that is more than enough, it takes any of it.
        """
        return size >= self.reusable.bit_count()

    def options(self, tables: LinkTables, size: int) -> Masks:
        """The sets that a container of this size may be given."""
        if self.ranked(size):
            return tables.candidates(self.free | self.reusable, size, self.reusable)
        return tables.candidates(self.reusable, size)


def communication_of(gpus: int, wishes: Wishes) -> Communication:
    """How much a container with so many GPUs communicates: as its pod says, else heavily above one GPU."""
    if wishes.communication is not None:
        return wishes.communication
    return Communication.HEAVY if gpus > 1 else Communication.NONE


def choose(
    tables: LinkTables, devices: Devices, containers: Sequence[ContainerShape], wishes: Wishes, demand: Demand
) -> tuple[int, ...] | None:
    """The best set for each container, as masks, chosen one after the other.

    A container that communicates heavily gets the set of most worth; one that does not, the set that leaves most; one
    that communicates lightly, the set that leaves most among those with at least `LIGHT_SHARE` of the best bandwidth.
    Equal sets are told apart by what they leave to the pod's later containers, by the links to its earlier ones, and
    by the other of worth and leftover. What an init container gets is chosen out of the next container's set if that
    is larger, because the next container gets these GPUs again.

    Returns:
        None where no choice keeps the hard wishes of every container, or none was found in `_TRIES` attempts.
    """
    return _Search(tables, wishes, demand, iter(range(_TRIES))).sets(devices, containers)


def pod_worth(tables: LinkTables, sets: Sequence[int]) -> SetWorth:
    """What a pod's sets are worth together.

    Bandwidth and ring are those of the container that fares worst, single GPUs aside; pairs and locality are those of
    all its GPUs together, which brings in the links between its containers. For one container that is its set's worth.
    """
    together = 0
    for gpus in sets:
        together |= gpus
    rings = [tables.worth(gpus)[:2] for gpus in sets if gpus.bit_count() > 1]
    bandwidth, ring_sum = min(rings, default=(0.0, 0.0))
    _, _, pair_sum, locality = tables.worth(together)
    return SetWorth(bandwidth, ring_sum, pair_sum, locality)


def keeping(tables: LinkTables, sets: Masks, wishes: Wishes) -> Masks:
    """Those of some sets of equal size that keep the hard wishes, which bind no single GPU."""
    if not wishes.are_hard or not len(sets) or int(sets[0]).bit_count() == 1:
        return sets
    sets = sets[tables.meets(wishes.require, sets)]
    return sets[tables.bandwidths(sets) >= wishes.min_bandwidth_gbps]


def gpus_needed(containers: Sequence[ContainerShape]) -> int:
    """The number of GPUs that the kubelet takes for a pod's containers, one after the other."""
    taken = reusable = 0
    for container in containers:
        taken += max(container.gpus - reusable, 0)
        if container.kind is ContainerKind.INIT:
            reusable = max(reusable, container.gpus)
        else:
            reusable = max(reusable - container.gpus, 0)
    return taken


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for one pod's sets, with what does not change while it goes on."""

    tables: LinkTables
    wishes: Wishes
    demand: Demand
    tries: Iterator[int]

    def sets(self, devices: Devices, containers: Sequence[ContainerShape]) -> tuple[int, ...] | None:
        """A set for each container such that all keep the hard wishes; the first that is found."""
        if not containers:
            return ()
        container, *later = containers
        for gpus, _ in zip(self.best_first(devices, container, later), self.tries, strict=False):
            others = self.sets(devices.after(container, gpus), later)
            if others is not None:
                return gpus, *others
        return None

    def best_first(self, devices: Devices, container: ContainerShape, later: Sequence[ContainerShape]) -> Iterable[int]:
        """The sets that a container may be given and that keep its hard wishes, the most wanted first."""
        sets = keeping(self.tables, self.options(devices, container, later), self.wishes)
        if not len(sets):
            return ()
        if not devices.ranked(container.gpus):
            # The kubelet takes any of them: the worst is what can be counted on.
            return (int(sets[self.tables.order(sets).argmin()]),)
        return self.in_order(devices, sets, communication_of(container.gpus, self.wishes), later)

    def options(self, devices: Devices, container: ContainerShape, later: Sequence[ContainerShape]) -> Masks:
        """The sets to choose from: those inside the next container's set where that will hold them anyway."""
        grows = container.kind is ContainerKind.INIT and later and later[0].gpus > container.gpus
        if grows and devices.ranked(container.gpus):
            for target in self.best_first(devices, later[0], later[1:]):
                return self.tables.candidates(target, container.gpus, devices.reusable)
        return devices.options(self.tables, container.gpus)

    def in_order(
        self, devices: Devices, sets: Masks, communication: Communication, later: Sequence[ContainerShape]
    ) -> Iterable[int]:
        """Sets of equal size, the most wanted first."""
        if communication is Communication.LIGHT:
            bandwidths = self.tables.bandwidths(sets)
            sets = sets[bandwidths >= LIGHT_SHARE * bandwidths.max()]
        free = sets.dtype.type(devices.free) & ~sets
        worth, leftover = self.tables.order(sets), self.tables.leftovers(free, self.demand)
        others: list[Floats | Integers] = []
        if later:
            others.append(self.tables.leftovers(free, Demand.of(Counter(container.gpus for container in later))))
        if devices.held:
            others.append(self.tables.pair_sums(sets | sets.dtype.type(devices.held)))
        heavy = communication is Communication.HEAVY
        columns = [worth, *others, leftover] if heavy else [*others, leftover, worth]
        # Stable, so that of equal sets the one with the lowest GPUs comes first.
        order = np.lexsort([-column for column in reversed(columns)])
        return (int(gpus) for gpus in sets[order])
