"""A real node: its hardware may not answer, its kubelet may be away, and it says so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from gpu_topology.errors import SourceError
from gpu_topology.topology import NodeTopology
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent.kubelet.client import PodResourcesClient
from topology_agent.profiles import load_machine
from topology_agent.real_node import RealNode
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
