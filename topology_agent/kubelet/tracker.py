"""Makes sense of what the kubelet tells: who holds which GPU, and when not to believe it. Pure: the time is given.

A device is a whole GPU, or a part of one: a MIG device or a replica (`topology_agent.kubelet.slices`). A GPU of which
parts are offered or held is not free as a whole.

After a restart the kubelet is away for some two seconds, and then for about one second lists no pods at all, though
they hold their devices. So an answer that says less than the one before it is not believed until the kubelet has been
up for a while; and while it is away, its last answer stands, marked stale.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from gpu_topology.contract import Holder
from gpu_topology.health import NOT_OFFERED
from topology_agent.kubelet.listing import ContainerListing, Listing
from topology_agent.kubelet.slices import holders_of, is_part, pools_of, uuid_of
from topology_agent.occupancy import Occupancy

_NO_MIG: Final[Mapping[str, int]] = MappingProxyType({})
_SETTLING: Final = "the kubelet has just come up and may not list all pods yet"


class KubeletTracker:
    """Follows one kubelet.

    Attributes:
        occupancy: what is known at present.
        expects_devices: whether a container is listed that was not there before and has no device: perhaps the
            kubelet is about to give it some, so that it is worth asking again soon.
        foreign: devices of the last answer that are no GPU of the node, nor known to be a part of one, and were not in
            an answer before: for the log, as nothing else can be done with them.
    """

    def __init__(
        self, uuids: Mapping[str, int], settle_seconds: float, mig_parents: Mapping[str, int] = _NO_MIG
    ) -> None:
        """Follow a kubelet from now on.

        Args:
            uuids: the GPUs of the node.
            settle_seconds: for how long after the kubelet came up it is not believed when it tells of fewer pods.
            mig_parents: UUID of a MIG device to the GPU that it is a part of. The slices of one that is not in it are
                counted as of an unknown GPU.
        """
        self._uuids = dict(uuids)
        self._gpu_of = {**mig_parents, **uuids}
        self._settle_seconds = settle_seconds
        self._incarnation: str | None = None
        self._settled_at = 0.0
        self._containers: frozenset[tuple[str, str]] = frozenset()
        self._holding: tuple[ContainerListing, ...] = ()
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
        if now < self._settled_at:
            self._believe_with_caution(listing)
        else:
            self._believe(listing, listing.containers)

    def _believe(self, listing: Listing, containers: Iterable[ContainerListing]) -> None:
        self._holding = tuple(entry for entry in containers if entry.devices or entry.slices)
        self.occupancy = self._occupancy_of(listing, self._holding)

    def _believe_with_caution(self, listing: Listing) -> None:
        """Of a kubelet that has just come up: who held devices before and is not listed still does."""
        nothing_known = self.occupancy.free is None and not listing.containers
        missing = self._missing(listing.containers)
        self._believe(listing, (*listing.containers, *missing))
        if nothing_known:
            self.occupancy = replace(self.occupancy, free=None, slices=None)
        if nothing_known or missing:
            self.occupancy = replace(self.occupancy, stale=self.occupancy.stale or _SETTLING)

    def _missing(self, containers: Iterable[ContainerListing]) -> tuple[ContainerListing, ...]:
        """Who held devices before and is not listed, though nobody else has them."""
        listed = {device for entry in containers for device in (*entry.devices, *entry.slices)}
        return tuple(entry for entry in self._holding if listed.isdisjoint((*entry.devices, *entry.slices)))

    def _occupancy_of(self, listing: Listing, holding: Iterable[ContainerListing]) -> Occupancy:
        held = tuple(self._holders(holding))
        whole = [device for device in listing.allocatable if not is_part(device)]
        if whole and not self._known(whole):
            return Occupancy(None, held, stale="none of the kubelet's devices is a GPU of the topology that was read")
        slices = pools_of(listing, holding, self._gpu_of)
        cut = {pool.gpu for pool in slices}
        unhealthy = {gpu: reason for gpu, reason in self._unhealthy(whole).items() if gpu not in cut}
        taken = {gpu for holder in held for gpu in holder.gpus}
        free = set(self._uuids.values()) - taken - unhealthy.keys() - cut
        return Occupancy(
            tuple(sorted(free)), held, unhealthy, slices=slices, held_slices=holders_of(holding, self._gpu_of)
        )

    def _holders(self, containers: Iterable[ContainerListing]) -> Iterable[Holder]:
        for container in containers:
            if gpus := self._known(container.devices):
                yield Holder(container.pod, container.container, gpus)

    def _unhealthy(self, allocatable: Iterable[str]) -> dict[int, str]:
        healthy = self._known(allocatable)
        if not healthy:
            return dict.fromkeys(self._uuids.values(), NOT_OFFERED)
        offered = set(healthy)
        return {
            gpu: "the device plugin does not offer it as healthy" for gpu in self._uuids.values() if gpu not in offered
        }

    def _known(self, devices: Iterable[str]) -> tuple[int, ...]:
        """The whole GPUs among the devices."""
        return tuple(sorted({self._uuids[device] for device in devices if device in self._uuids}))

    def _note_foreign(self, listing: Listing) -> None:
        devices = {*listing.allocatable, *(device for _, device in listing.allocatable_slices)}
        for entry in listing.containers:
            devices.update(entry.devices, (device for _, device in entry.slices))
        foreign = {device for device in devices if uuid_of(device) not in self._gpu_of}
        self.foreign = tuple(sorted(foreign - self._foreign))
        self._foreign |= foreign

    def _look_for_new_containers(self, containers: Iterable[ContainerListing]) -> None:
        names = frozenset((entry.pod, entry.container) for entry in containers)
        empty = {(entry.pod, entry.container) for entry in containers if not entry.devices and not entry.slices}
        self.expects_devices = bool(empty - self._containers)
        self._containers = names
