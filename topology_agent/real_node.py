"""Follows the node that this process runs on: its hardware, and what its kubelet tells."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

import structlog

from gpu_topology.contract import Allocation, encode_topology
from gpu_topology.errors import ContractError, SourceError
from topology_agent.hardware import HardwareReader
from topology_agent.kubelet.listing import Listing
from topology_agent.kubelet.tracker import KubeletTracker
from topology_agent.lost_gpus import remember_lost
from topology_agent.occupancy import Occupancy
from topology_agent.report import NodeReport
from topology_agent.sources.nvml import Reading

SECOND_LOOK_SECONDS: Final = 0.2
"""After a container was listed without devices: nine of ten get theirs within 170 ms of being bound."""

_log = structlog.get_logger(__name__)


class Kubelet(Protocol):
    """What is needed of `topology_agent.kubelet.client.PodResourcesClient`."""

    async def read(self) -> Listing:
        """Ask once; raises `SourceError`."""


class RealNode:
    """One node, and what is known of it.

    Attributes:
        report: what there is to publish at present.
    """

    def __init__(
        self,
        read_hardware: HardwareReader,
        kubelet: Kubelet,
        publish: Callable[[NodeReport], None],
        *,
        settle_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read_hardware = read_hardware
        self._kubelet = kubelet
        self._publish = publish
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._reading: Reading | None = None
        self._topology: str | None = None
        self._tracker: KubeletTracker | None = None
        self._hardware_failure: str | None = "the hardware has not been read yet"
        self._kubelet_failure: str | None = None

    async def look_at_hardware(self) -> bool:
        """Read the hardware again and publish. Returns whether that worked; if not, what was known stands as stale."""
        try:
            # NVML may take seconds while a driver starts; the kubelet is followed meanwhile.
            reading = self._completed(await asyncio.to_thread(self._read_hardware))
            topology = encode_topology(reading.topology)
        except (SourceError, ContractError) as error:
            self._note_hardware_failure(str(error))
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
            self._note_kubelet_failure(str(error))
            self._tracker.lost(str(error))
        else:
            self._note_kubelet_failure(None)
            self._tracker.heard(listing, self._clock())
            for device in self._tracker.foreign:
                _log.warning("the kubelet has a device that is no GPU of this node's topology", device=device)
        self._publish(self.report)
        return self._tracker.expects_devices

    async def follow_hardware(self, every_seconds: float, retry_seconds: float) -> None:
        """Look at the hardware for ever; sooner again where it could not be read."""
        while True:
            works = await self.look_at_hardware()
            await asyncio.sleep(every_seconds if works else retry_seconds)

    async def follow_kubelet(self, every_seconds: float) -> None:
        """Look at the kubelet for ever."""
        while True:
            soon = await self.look_at_kubelet()
            await asyncio.sleep(min(every_seconds, SECOND_LOOK_SECONDS) if soon else every_seconds)

    @property
    def report(self) -> NodeReport:
        """See the class."""
        if self._reading is None or self._tracker is None:
            return NodeReport(None, Occupancy(None, stale=self._hardware_failure), Allocation.VENDOR)
        return NodeReport(self._topology, self._occupancy(self._reading, self._tracker.occupancy), Allocation.VENDOR)

    def _occupancy(self, reading: Reading, seen: Occupancy) -> Occupancy:
        """What the kubelet tells, less the GPUs that the hardware knows to be lost."""
        free = None if seen.free is None else tuple(gpu for gpu in seen.free if gpu not in reading.unhealthy)
        unhealthy = {**seen.unhealthy, **reading.unhealthy}
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
            self._tracker = KubeletTracker(uuids, self._settle_seconds)
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
