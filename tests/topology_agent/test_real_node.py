"""A real node: its hardware may not answer, its kubelet may be away, and it says so."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
from structlog.testing import capture_logs

from gpu_topology.errors import SourceError
from gpu_topology.topology import NodeTopology
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent.kubelet.client import PodResourcesClient
from topology_agent.profiles import load_machine
from topology_agent.real_node import BUSY_SECONDS, SHORTEST_PAUSE_SECONDS, RealNode
from topology_agent.report import NodeReport
from topology_agent.simulation import with_uuids
from topology_agent.sources.nvml import DriverLostError, Reading
from topology_agent.xids import XidEvent

TOPOLOGY = with_uuids(load_machine("pcie-4-node-sys"), "n")
UUIDS = [str(gpu.uuid) for gpu in TOPOLOGY.gpus]


class Hardware:
    """What a reader of hardware says; an error is raised."""

    def __init__(self, answer: Reading | SourceError) -> None:
        self.answer = answer

    def __call__(self) -> Reading:
        if isinstance(self.answer, SourceError):
            raise self.answer
        return self.answer


class Published(list[NodeReport]):
    """Everything that a node had to say."""

    def node(self, hardware: Callable[[], Reading], kubelet: PodResourcesClient) -> RealNode:
        return RealNode(hardware, kubelet, self.append, settle_seconds=0)


def reading(topology: NodeTopology = TOPOLOGY, **unhealthy: str) -> Reading:
    return Reading(topology, {int(name.removeprefix("gpu")): reason for name, reason in unhealthy.items()})


async def test_hardware_and_kubelet_together_make_the_report(tmp_path: Path) -> None:
    published = Published()
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = UUIDS
        kubelet.pods = {"team/a": {"main": UUIDS[1:3]}}
        node = published.node(Hardware(reading()), client)
        assert await node.look_at_hardware()
        await node.look_at_kubelet()
    occupancy = published[-1].occupancy
    assert occupancy.free == (0, 3)
    assert [(holder.pod, holder.gpus) for holder in occupancy.held] == [("team/a", (1, 2))]
    assert occupancy.stale is None


async def test_a_gpu_that_the_hardware_has_lost_is_not_free(tmp_path: Path) -> None:
    """The device plugin may take a while to notice."""
    published = Published()
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = UUIDS
        node = published.node(Hardware(reading(gpu2="fell off the bus")), client)
        await node.look_at_hardware()
        await node.look_at_kubelet()
    assert published[-1].occupancy.free == (0, 1, 3)
    assert published[-1].occupancy.unhealthy == {2: "fell off the bus"}


async def test_without_a_driver_the_node_is_unknown_and_the_log_says_it_once(tmp_path: Path) -> None:
    published = Published()
    hardware = Hardware(SourceError("no driver"))
    async with PodResourcesClient(tmp_path / "none.sock") as client:
        node = published.node(hardware, client)
        with capture_logs() as logs:
            assert not await node.look_at_hardware()
            assert not await node.look_at_hardware()
        assert [entry["error"] for entry in logs] == ["no driver"]
        assert published[-1].topology is None
        assert (published[-1].occupancy.free, published[-1].occupancy.stale) == (None, "no driver")
        hardware.answer = reading()
        assert await node.look_at_hardware()
    assert published[-1].topology is not None


async def test_a_driver_that_goes_away_leaves_what_was_known_as_stale(tmp_path: Path) -> None:
    published = Published()
    hardware = Hardware(reading())
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = UUIDS
        node = published.node(hardware, client)
        await node.look_at_hardware()
        await node.look_at_kubelet()
        hardware.answer = SourceError("driver gone")
        await node.look_at_hardware()
    assert published[-1].occupancy.free == (0, 1, 2, 3)
    assert published[-1].occupancy.stale == "driver gone"
    assert published[-1].topology is not None


async def test_a_link_that_goes_down_leaves_what_the_kubelet_told(tmp_path: Path) -> None:
    """The GPUs are the same, so nothing has to be asked anew."""
    published = Published()
    linked = replace(TOPOLOGY, nvlinks=tuple(tuple(int(i + j == 3) for j in range(4)) for i in range(4)))
    hardware = Hardware(reading(linked))
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = UUIDS
        kubelet.pods = {"team/a": {"main": UUIDS[1:3]}}
        node = published.node(hardware, client)
        await node.look_at_hardware()
        await node.look_at_kubelet()
        hardware.answer = reading()
        await node.look_at_hardware()
    assert published[-1].topology != published[-2].topology
    assert published[-1].occupancy == published[-2].occupancy


async def test_an_xid_error_takes_its_gpu_out_until_the_driver_was_away(tmp_path: Path) -> None:
    published = Published()
    hardware = Hardware(reading())
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = UUIDS
        node = published.node(hardware, client)
        await node.look_at_hardware()
        await node.look_at_kubelet()
        node.hear_of_xid(XidEvent(1, 119))
        for answer in (reading(), SourceError("busy"), reading()):
            hardware.answer = answer
            await node.look_at_hardware()
            assert published[-1].occupancy.free == (0, 2, 3)
        for answer in (DriverLostError("gone"), reading()):
            hardware.answer = answer
            await node.look_at_hardware()
    assert published[-1].occupancy.free == (0, 1, 2, 3)


async def test_an_xid_error_of_an_application_is_logged_and_nothing_else(tmp_path: Path) -> None:
    published = Published()
    async with PodResourcesClient(tmp_path / "none.sock") as client:
        node = published.node(Hardware(reading()), client)
        with capture_logs() as logs:
            node.hear_of_xid(XidEvent(1, 31))
    assert [(entry["gpu"], entry["xid"]) for entry in logs] == [(1, 31)]
    assert published == []


async def test_a_kubelet_that_is_away_is_logged_once_and_again_when_it_answers(tmp_path: Path) -> None:
    published = Published()
    kubelet = FakeKubelet(tmp_path / "k.sock")
    kubelet.allocatable = UUIDS
    async with PodResourcesClient(kubelet.socket) as client:
        node = published.node(Hardware(reading()), client)
        await node.look_at_hardware()
        with capture_logs() as logs:
            await node.look_at_kubelet()
            await node.look_at_kubelet()
            async with kubelet:
                await node.look_at_kubelet()
    assert [entry["log_level"] for entry in logs] == ["warning", "info"]
    assert published[-1].occupancy.free == (0, 1, 2, 3)


async def test_pods_that_come_or_go_are_looked_for_at_once(tmp_path: Path) -> None:
    """Long before the next look would be due; a kubelet that has not yet given a pod its GPUs is asked again."""
    reports: asyncio.Queue[NodeReport] = asyncio.Queue()
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = UUIDS
        node = RealNode(Hardware(reading()), client, reports.put_nowait, settle_seconds=0)
        await node.look_at_hardware()
        following = asyncio.create_task(node.follow_kubelet(every_seconds=3600))
        await until(reports, lambda report: report.occupancy.free == (0, 1, 2, 3))
        node.hear_of_pods()
        for _ in range(3):  # it has not begun to serve the pod
            await reports.get()
        kubelet.pods = {"team/a": {"main": UUIDS[1:3]}}
        await until(reports, lambda report: report.occupancy.free == (0, 3))
        node.hear_of_pods()
        kubelet.pods = {}
        await until(reports, lambda report: report.occupancy.free == (0, 1, 2, 3))
        following.cancel()
        await asyncio.wait([following])


async def test_however_much_happens_the_kubelet_is_not_asked_too_often(tmp_path: Path) -> None:
    """It allows 100 calls a second; a look takes two."""
    reports: list[NodeReport] = []
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        node = RealNode(Hardware(reading()), client, reports.append, settle_seconds=0)
        await node.look_at_hardware()
        loop = asyncio.get_running_loop()
        started = loop.time()
        following = asyncio.create_task(node.follow_kubelet(every_seconds=3600))
        while len(reports) < 6:
            node.hear_of_pods()
            await asyncio.sleep(0)
        following.cancel()
        await asyncio.wait([following])
    assert loop.time() - started >= 4 * SHORTEST_PAUSE_SECONDS


async def until(reports: asyncio.Queue[NodeReport], predicate: Callable[[NodeReport], bool]) -> None:
    """Wait until what is published is as wanted."""
    async with asyncio.timeout(30):
        while not predicate(await reports.get()):
            pass


async def test_a_foreign_device_is_in_the_log(tmp_path: Path) -> None:
    published = Published()
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = [*UUIDS, "MIG-1"]
        node = published.node(Hardware(reading()), client)
        await node.look_at_hardware()
        with capture_logs() as logs:
            await node.look_at_kubelet()
    assert logs[0]["device"] == "MIG-1"
    assert published[-1].occupancy.free == (0, 1, 2, 3)


async def test_a_kubelet_that_is_asked_too_often_does_not_make_the_state_stale(tmp_path: Path) -> None:
    """Others ask it too, and its patience is shared; only if it goes on for long, what is known is doubtful."""
    published, now = Published(), 0.0
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = UUIDS
        node = RealNode(Hardware(reading()), client, published.append, settle_seconds=0, clock=lambda: now)
        await node.look_at_hardware()
        await node.look_at_kubelet()
        kubelet.refuses = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await node.look_at_kubelet()
        assert published[-1].occupancy.stale is None
        now = BUSY_SECONDS
        await node.look_at_kubelet()
        assert "RESOURCE_EXHAUSTED" in str(published[-1].occupancy.stale)
        assert published[-1].occupancy.free == (0, 1, 2, 3)
