"""Answers the kubelet's question for the very container that it is serving, in time."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from gpu_topology.contract import decode_topology
from gpu_topology.errors import PlacementError, SourceError
from gpu_topology.placement import WorthModels, tables_of
from gpu_topology.placement.models import RING_EVERYWHERE
from topology_agent.device_plugin.decide import Machine, Question, decide
from topology_agent.device_plugin.identify import Subject, identify, unexplained
from topology_agent.kubelet.listing import ContainerListing
from topology_agent.pods import PodCache
from topology_agent.real_node import Kubelet
from topology_agent.report import NodeReport

LISTING_SECONDS: Final = 0.5
"""For the kubelet's list of pods. It takes 2 to 13 ms, but on a busy machine more than 60 ms were seen; and it is the
kubelet itself that waits for the answer in the meantime."""
NEWS_SECONDS: Final = 0.025
"""For the API server's word of a pod that the kubelet knows already: with the rest, an answer takes less than 100 ms
however slow the API server is."""
RETRY_SECONDS: Final = 0.01
"""Until the kubelet is asked again if it refuses: it allows 100 calls a second."""

_log = structlog.get_logger(__name__)


class Advisor:
    """Which GPUs the containers of a node should get.

    Attributes:
        ready: set once the hardware is known.
    """

    def __init__(self, kubelet: Kubelet, pods: PodCache, models: WorthModels = RING_EVERYWHERE) -> None:
        """Know nothing of the hardware yet.

        Args:
            kubelet: tells its pods.
            pods: tells what they ask for.
            models: how the worth of a set is computed; the extender's own.
        """
        self._kubelet = kubelet
        self._pods = pods
        self._models = models
        self._topology: str | None = None
        self._machine: Machine | None = None
        self.ready = asyncio.Event()

    @property
    def is_able(self) -> bool:
        """Whether enough is known of the hardware to choose at all."""
        return self._machine is not None

    def heard(self, report: NodeReport) -> None:
        """Take note of what the agent knows of its node."""
        if report.topology is None:
            return
        if report.topology != self._topology:
            self._topology = report.topology
            self._machine = self._machine_of(report.topology)
        if self._machine is not None:
            self._machine = replace(self._machine, out_of_service=frozenset(report.occupancy.unhealthy))
        self.ready.set()

    async def advise(self, questions: Sequence[Question]) -> Sequence[Sequence[str]] | None:
        """See `topology_agent.device_plugin.server.Advise`; None also where the hardware is not known."""
        if self._machine is None:
            return None
        listing = await self._listing()
        return _complete([self._answer(self._machine, question, listing) for question in questions])

    def _machine_of(self, topology: str) -> Machine | None:
        decoded = decode_topology(topology)
        try:
            tables = tables_of(decoded, self._models.of(decoded))
        except PlacementError as error:
            _log.error("nothing can be chosen on this machine; the plugin is asked instead", error=str(error))
            return None
        return Machine(tables, tuple(gpu.uuid or f"unknown-{index}" for index, gpu in enumerate(decoded.gpus)))

    async def _listing(self) -> tuple[ContainerListing, ...]:
        """The containers of the node, once the pods that may be meant are known; none where that takes too long."""
        try:
            async with asyncio.timeout(LISTING_SECONDS):
                containers = await self._containers()
        except TimeoutError:
            _log.warning("the kubelet does not tell its pods in time")
            return ()
        missing = unexplained(containers, self._pods.pods)
        try:
            async with asyncio.timeout(NEWS_SECONDS):
                await self._pods.wait_for(missing)
        except TimeoutError:
            _log.info("the kubelet has pods that the API server does not tell of yet", pods=sorted(missing))
        return containers

    async def _containers(self) -> tuple[ContainerListing, ...]:
        while True:
            try:
                return (await self._kubelet.read()).containers
            except SourceError:
                await asyncio.sleep(RETRY_SECONDS)

    def _answer(
        self, machine: Machine, question: Question, listing: Iterable[ContainerListing]
    ) -> tuple[str, ...] | None:
        subject = identify(listing, self._pods.pods, question.size)
        devices = decide(machine, question, subject)
        _note(question, subject, devices)
        return devices


def _complete(answers: Sequence[Sequence[str] | None]) -> Sequence[Sequence[str]] | None:
    """All answers, or None if one of them is left to the plugin, which is asked all of the questions then."""
    found = [answer for answer in answers if answer is not None]
    return found if len(found) == len(answers) else None


def _note(question: Question, subject: Subject | None, devices: Sequence[str] | None) -> None:
    _log.info(
        "chose GPUs",
        pod=subject.pod if subject else None,
        container=subject.container if subject else None,
        size=question.size,
        available=len(question.available),
        devices=devices,
    )
