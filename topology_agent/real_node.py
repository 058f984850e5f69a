"""Follows the node that this process runs on: its hardware, and what its kubelet tells."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

import structlog

from gpu_topology.contract import Allocation, encode_topology
from gpu_topology.errors import ContractError, SourceError
from topology_agent.hardware import HardwareReader
from topology_agent.health import NodeHealth
from topology_agent.kubelet.client import KubeletBusyError
from topology_agent.kubelet.listing import Listing
from topology_agent.kubelet.tracker import KubeletTracker
from topology_agent.labels import labels_of
from topology_agent.lost_gpus import remember_lost
from topology_agent.occupancy import Occupancy
from topology_agent.report import NodeReport
from topology_agent.sources.nvml import DriverLostError, Reading
from topology_agent.xids import XidEvent

SECOND_LOOK_SECONDS: Final = 0.2
"""After a container was listed without devices: nine of ten get theirs within 170 ms of being bound."""
SHORTEST_PAUSE_SECONDS: Final = 0.1
"""Between two looks at the kubelet, however much happens: a look takes two calls, and the kubelet allows 100 a second
from all its clients together, 10 of them at once."""
BUSY_SECONDS: Final = 10.0
"""For which a kubelet's last answer stands while it only says that it is asked too often."""
AFTERMATH_SECONDS: Final = 1.0
"""After an XID error, until the hardware is read again: others follow the first, and links go down with it."""

_log = structlog.get_logger(__name__)


class Kubelet(Protocol):
    """What is needed of `topology_agent.kubelet.client.PodResourcesClient`."""

    async def read(self) -> Listing:
        """Ask once; raises `SourceError`."""


class RealNode:
    """One node, and what is known of it.

    Attributes:
        report: what there is to publish at present.
        allocation: tells who chooses among the free GPUs; the vendor, unless somebody else is put here.
    """

    def __init__(  # noqa: PLR0913  each but the first three is named by the caller
        self,
        read_hardware: HardwareReader,
        kubelet: Kubelet,
        publish: Callable[[NodeReport], None],
        *,
        settle_seconds: float,
        health: NodeHealth | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_hardware = read_hardware
        self._kubelet = kubelet
        self._publish = publish
        self._settle_seconds = settle_seconds
        self._health = health or NodeHealth()
        self._hardware_is_doubtful = asyncio.Event()
        self._pods_have_changed = asyncio.Event()
        self._clock = clock
        self._reading: Reading | None = None
        self._topology: str | None = None
        self._tracker: KubeletTracker | None = None
        self._devices: dict[str, int] = {}
        self._hardware_failure: str | None = "the hardware has not been read yet"
        self._kubelet_failure: str | None = None
        self._answered_at = clock()
        self.allocation: Callable[[], Allocation] = lambda: Allocation.VENDOR

    async def look_at_hardware(self) -> bool:
        """Read the hardware again and publish. Returns whether that worked; if not, what was known stands as stale."""
        try:
            # NVML may take seconds while a driver starts; the kubelet is followed meanwhile.
            reading = self._completed(await asyncio.to_thread(self._read_hardware))
            topology = encode_topology(reading.topology)
        except (SourceError, ContractError) as error:
            self._note_hardware_failure(str(error))
            if isinstance(error, DriverLostError):
                self._health.forget_xids()
        else:
            self._take(reading, topology)
        self._publish(self.report)
        return self._hardware_failure is None

    async def look_at_kubelet(self) -> bool:
        """Ask the kubelet and publish. Returns whether it is worth asking again soon."""
        if self._tracker is None:
            return False
        try:
            listing = await self._kubelet.read()
        except SourceError as error:
            if isinstance(error, KubeletBusyError) and self._clock() < self._answered_at + BUSY_SECONDS:
                _log.info("the kubelet is asked too often, trying again", error=str(error))
                return True  # what is known stands: in a moment there is an answer again
            self._note_kubelet_failure(str(error))
            self._tracker.lost(str(error))
        else:
            self._answered_at = self._clock()
            self._note_kubelet_failure(None)
            self._tracker.heard(listing, self._clock())
            for device in self._tracker.foreign:
                _log.warning("the kubelet has a device that is no GPU of this node's topology", device=device)
        self._publish(self.report)
        return self._tracker.expects_devices

    async def follow_hardware(self, every_seconds: float, retry_seconds: float) -> None:
        """Look at the hardware for ever; sooner again where it could not be read, or after an XID error."""
        while True:
            works = await self.look_at_hardware()
            with suppress(TimeoutError):
                async with asyncio.timeout(every_seconds if works else retry_seconds):
                    await self._hardware_is_doubtful.wait()
                    await asyncio.sleep(AFTERMATH_SECONDS)
            self._hardware_is_doubtful.clear()

    async def follow_kubelet(self, every_seconds: float) -> None:
        """Look at the kubelet for ever: at once when pods come or go, then after pauses that double.

        The kubelet learns of a pod's coming at the same time as the agent, and needs a moment to give it its GPUs; and
        of those that go it takes them back a little sooner or later than the API server is told.
        """
        shortest = min(every_seconds, SHORTEST_PAUSE_SECONDS)
        pause = every_seconds
        while True:
            soon = await self.look_at_kubelet()
            if await self._pods_change(shortest, min(pause, SECOND_LOOK_SECONDS) if soon else pause):
                pause = shortest
            else:
                pause = min(2 * pause, every_seconds)

    async def _pods_change(self, shortest: float, longest: float) -> bool:
        """Wait until pods come or go, but for so many seconds at least, and at most. Returns whether they do."""
        await asyncio.sleep(shortest)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest - shortest):
                await self._pods_have_changed.wait()
        changed = self._pods_have_changed.is_set()
        self._pods_have_changed.clear()
        return changed

    def hear_of_xid(self, event: XidEvent) -> None:
        """Take an XID error into account. Unless an application was at fault, the hardware is read again."""
        _log.warning("the driver reports an XID error", gpu=event.gpu, xid=event.xid)
        if event.is_of_an_application:
            return
        self._health.hit(event)
        self._hardware_is_doubtful.set()
        self._publish(self.report)

    def hear_of_pods(self) -> None:
        """Take note that a pod with GPUs comes, starts or goes: the kubelet is asked again at once."""
        self._pods_have_changed.set()

    def hear_of_cordon(self, text: str) -> None:
        """Follow the cordon annotation of the node; empty where it has none."""
        self._health.cordon(text)
        self._publish(self.report)

    @property
    def report(self) -> NodeReport:
        """See the class."""
        if self._reading is None or self._tracker is None:
            return NodeReport(None, Occupancy(None, stale=self._hardware_failure), Allocation.VENDOR)
        occupancy = self._occupancy(self._tracker.occupancy)
        return NodeReport(self._topology, occupancy, self.allocation(), labels_of(self._reading.topology))

    def _occupancy(self, seen: Occupancy) -> Occupancy:
        """What the kubelet tells, less the GPUs that are lost or cordoned."""
        reasons = self._health.reasons
        free = None if seen.free is None else tuple(gpu for gpu in seen.free if gpu not in reasons)
        unhealthy = {**seen.unhealthy, **reasons}
        return replace(seen, free=free, unhealthy=unhealthy, stale=self._hardware_failure or seen.stale)

    def _completed(self, reading: Reading) -> Reading:
        if self._reading is None:
            return reading
        known = remember_lost(reading.topology, self._reading.topology, reading.unhealthy)
        return replace(reading, topology=known)

    def _take(self, reading: Reading, topology: str) -> None:
        if topology != self._topology:
            _log.info("read the hardware", gpus=len(reading.topology), clique=reading.topology.clique)
        uuids = {gpu.uuid: index for index, gpu in enumerate(reading.topology.gpus) if gpu.uuid is not None}
        known = {**uuids, **reading.mig_parents}
        if self._tracker is None or known != self._devices:
            self._tracker = KubeletTracker(uuids, self._settle_seconds, reading.mig_parents)
        self._devices = known
        self._health.take(reading)
        self._reading = reading
        self._topology = topology
        self._hardware_failure = None

    def _note_hardware_failure(self, reason: str) -> None:
        if reason != self._hardware_failure:
            _log.error("the hardware cannot be read, trying again", error=reason)
        self._hardware_failure = reason

    def _note_kubelet_failure(self, reason: str | None) -> None:
        """Once for every new reason, not once for every try."""
        if reason != self._kubelet_failure:
            if reason is None:
                _log.info("the kubelet answers again")
            else:
                _log.warning("the kubelet cannot be asked, trying again", error=reason)
        self._kubelet_failure = reason
