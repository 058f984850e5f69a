"""Makes sense of what the kubelet tells: who holds which GPU, and when not to believe it. Pure: the time is given.

After a restart the kubelet is away for some two seconds, and then for about one second lists no pods at all, though
they hold their devices. So an answer that says less than the one before it is not believed until the kubelet has been
up for a while; and while it is away, its last answer stands, marked stale.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from gpu_topology.contract import Holder
from topology_agent.kubelet.listing import ContainerListing, Listing
from topology_agent.occupancy import Occupancy

_REPLICA: Final = "::"
"""Stands between the id of a shared GPU and the number of the replica."""
_SETTLING: Final = "the kubelet has just come up and may not list all pods yet"


class KubeletTracker:
    """Follows one kubelet.

    Attributes:
        occupancy: what is known at present.
        expects_devices: whether a container is listed that was not there before and has no device: perhaps the
            kubelet is about to give it some, so that it is worth asking again soon.
        foreign: devices of the last answer that are no GPU of the node, nor a replica of one, and were not in an answer
            before: for the log, as nothing else can be done with them.
    """

    def __init__(self, uuids: Mapping[str, int], settle_seconds: float) -> None:
        """Follow a kubelet from now on.

        Args:
            uuids: the GPUs of the node.
            settle_seconds: for how long after the kubelet came up it is not believed when it tells of fewer pods.
        """
        self._uuids = dict(uuids)
        self._settle_seconds = settle_seconds
        self._incarnation: str | None = None
        self._settled_at = 0.0
        self._containers: frozenset[tuple[str, str]] = frozenset()
        self._foreign: set[str] = set()
        self.foreign: tuple[str, ...] = ()
        self.occupancy = Occupancy(free=None, stale="the kubelet has not been reached yet")
        self.expects_devices = False

    def lost(self, reason: str) -> None:
        """The kubelet did not answer: what was known stands, but may no longer be true."""
        self._incarnation = None
        self.expects_devices = False
        self.occupancy = replace(self.occupancy, stale=reason)

    def heard(self, listing: Listing, now: float) -> None:
        """The kubelet answered.

        Args:
            listing: its answer.
            now: seconds, of a clock that never goes back.
        """
        if listing.incarnation != self._incarnation:
            self._incarnation = listing.incarnation
            self._settled_at = now + self._settle_seconds
        self._note_foreign(listing)
        self._look_for_new_containers(listing.containers)
        fresh = self._occupancy_of(listing)
        self.occupancy = fresh if now >= self._settled_at else self._cautious(fresh, listing)

    def _occupancy_of(self, listing: Listing) -> Occupancy:
        held = tuple(self._holders(listing.containers))
        if listing.allocatable and not self._known(listing.allocatable):
            return Occupancy(None, held, stale="none of the kubelet's devices is a GPU of the topology that was read")
        unhealthy = self._unhealthy(listing.allocatable)
        taken = {gpu for holder in held for gpu in holder.gpus}
        return Occupancy(tuple(sorted(set(self._uuids.values()) - taken - unhealthy.keys())), held, unhealthy)

    def _cautious(self, fresh: Occupancy, listing: Listing) -> Occupancy:
        """What to believe of a kubelet that has just come up: who held GPUs before and is not listed still does."""
        last = self.occupancy
        if not listing.containers and last.free is None:
            return Occupancy(None, fresh.held, fresh.unhealthy, stale=_SETTLING)
        taken = {gpu for holder in fresh.held for gpu in holder.gpus}
        missing = tuple(holder for holder in last.held if not taken.intersection(holder.gpus))
        if not missing or fresh.free is None:
            return fresh
        kept = {gpu for holder in missing for gpu in holder.gpus}
        free = tuple(gpu for gpu in fresh.free if gpu not in kept)
        return replace(fresh, free=free, held=(*fresh.held, *missing), stale=_SETTLING)

    def _holders(self, containers: Iterable[ContainerListing]) -> Iterable[Holder]:
        for container in containers:
            if gpus := self._known(container.devices):
                yield Holder(container.pod, container.container, gpus)

    def _unhealthy(self, allocatable: Iterable[str]) -> dict[int, str]:
        healthy = self._known(allocatable)
        if not healthy:
            return dict.fromkeys(self._uuids.values(), "the device plugin offers no GPU to the kubelet")
        offered = set(healthy)
        return {
            gpu: "the device plugin does not offer it as healthy" for gpu in self._uuids.values() if gpu not in offered
        }

    def _known(self, devices: Iterable[str]) -> tuple[int, ...]:
        found = {self._uuids.get(_uuid(device)) for device in devices}
        return tuple(sorted(gpu for gpu in found if gpu is not None))

    def _note_foreign(self, listing: Listing) -> None:
        devices = {*listing.allocatable, *(device for entry in listing.containers for device in entry.devices)}
        foreign = {device for device in devices if _uuid(device) not in self._uuids}
        self.foreign = tuple(sorted(foreign - self._foreign))
        self._foreign |= foreign

    def _look_for_new_containers(self, containers: Iterable[ContainerListing]) -> None:
        names = frozenset((entry.pod, entry.container) for entry in containers)
        empty = {(entry.pod, entry.container) for entry in containers if not entry.devices}
        self.expects_devices = bool(empty - self._containers)
        self._containers = names


def _uuid(device: str) -> str:
    """The GPU of a device id: itself, or the one that a replica shares."""
    return device.split(_REPLICA, 1)[0]
