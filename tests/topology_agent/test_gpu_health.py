"""From the driver to the node: a lost GPU takes away itself, and a cordoned one is not free.

The whole agent, with the real nvidia-ml-py on the fake NVML, a kubelet of its own, and a cluster in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_topology.contract import STATE_ANNOTATION, NodeState, decode_state, decode_topology
from gpu_topology.cordon import CORDON_ANNOTATION, CORDONED
from kubernetes_api import Cluster, Resource
from tests.fake_nvml import machine
from tests.fake_nvml.machine import Failure
from tests.topology_agent.conftest import FakeNvml
from tests.topology_agent.fake_cluster import FakeCluster, node
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent import agent, real_node
from topology_agent.labels import GPU_COUNT_LABEL, INTERCONNECT_LABEL
from topology_agent.settings import load_settings

GPU_IS_LOST = 15
H100 = machine.load("hgx-h100")
DEAD_LINK = replace(machine.load("hgx-h100-dead-link"), name=H100.name)
"""The same machine, later: the names of its GPUs come from the machine's."""


class Node:
    """A GPU node with an agent on it."""

    def __init__(self, nvml: FakeNvml, cluster: FakeCluster, kubelet: FakeKubelet, options: list[str]) -> None:
        self.nvml = nvml
        self.options = options
        self.cluster = cluster
        self.kubelet = kubelet

    def cordon(self, text: str) -> None:
        present = self.cluster.annotations("n")
        self.cluster.put(Resource.NODES, node("n", {**present, CORDON_ANNOTATION: text}))

    async def until(self, condition: Callable[[NodeState], bool]) -> NodeState:
        def holds() -> bool:
            return STATE_ANNOTATION in self.cluster.annotations("n") and condition(self.state)

        async with asyncio.timeout(20), self.cluster.patched:
            await self.cluster.patched.wait_for(holds)
        return self.state

    async def until_told(self, reason: str) -> str:
        """The note of the first event with this reason."""
        async with asyncio.timeout(20), self.cluster.patched:
            await self.cluster.patched.wait_for(lambda: reason in {event.reason for event in self.cluster.events})
        return next(event.note for event in self.cluster.events if event.reason == reason)

    @property
    def state(self) -> NodeState:
        return decode_state(self.cluster.annotations("n")[STATE_ANNOTATION])


@pytest.fixture
async def gpu_node(fake_nvml: FakeNvml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """An HGX H100 with nothing on it, whose agent has published it."""
    monkeypatch.setattr(real_node, "AFTERMATH_SECONDS", 0)
    cluster = FakeCluster(node("n"))

    async def connect(_: object) -> FakeCluster:
        return cluster

    monkeypatch.setattr(Cluster, "connect", connect)
    async with FakeKubelet(tmp_path / "kubelet.sock") as kubelet:
        kubelet.allocatable = list(H100.uuids)
        (tmp_path / "kubelet.yaml").write_text("kind: KubeletConfiguration")
        options = {
            "node-name": "n",
            "pod-resources-socket": kubelet.socket,
            "kubelet-config": tmp_path / "kubelet.yaml",
            "sysfs-root": tmp_path,
            "poll-seconds": 0.1,
            "settle-seconds": 0,
        }
        subject = Node(fake_nvml, cluster, kubelet, [f"--{name}={value}" for name, value in options.items()])
        fake_nvml.play(H100)
        task = asyncio.create_task(agent.run(load_settings(subject.options)))
        await subject.until(lambda state: state.free == tuple(range(8)))
        yield subject
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        # The thread that waits for XID errors needs the library for a moment longer.
        await asyncio.get_running_loop().shutdown_default_executor()


async def test_an_xid_error_takes_away_just_its_gpu(gpu_node: Node) -> None:
    gpu_node.nvml.report_xid(2, 13)
    gpu_node.nvml.report_xid(5, 79)
    state = await gpu_node.until(lambda state: bool(state.unhealthy))
    assert state.unhealthy == {5: "XID 79: fell off the bus"}
    assert state.free == (0, 1, 2, 3, 4, 6, 7)
    assert H100.uuids[5] in await gpu_node.until_told("GpuLost")


async def test_after_an_xid_error_the_hardware_is_read_again(gpu_node: Node) -> None:
    """Which shows what went wrong besides: here memory, a GPU that no longer answers, and a link."""
    gpu_node.nvml.play(replace(DEAD_LINK, uncorrectable_errors={1: 1}).failing(Failure("*", GPU_IS_LOST, gpu=6)))
    gpu_node.nvml.report_xid(3, 74)
    state = await gpu_node.until(lambda state: len(state.unhealthy) == 2)
    assert list(state.unhealthy) == [1, 6]
    assert state.free == (0, 2, 3, 4, 5, 7)
    topology = decode_topology(gpu_node.cluster.annotations("n")["gpu-scheduler/topology"])
    assert [topology.token(3, 0), topology.token(0, 1), topology.token(0, 6)] == ["NV17", "NV18", "NV18"]
    assert "GPU 0 and 3 18 to 17" in await gpu_node.until_told("NvlinkDown")


async def test_a_gpu_that_answers_again_is_free_again(gpu_node: Node) -> None:
    gpu_node.nvml.play(H100.failing(Failure("*", GPU_IS_LOST, gpu=6)))
    gpu_node.nvml.report_xid(0, 154)
    await gpu_node.until(lambda state: list(state.unhealthy) == [6])
    gpu_node.nvml.play(H100)
    gpu_node.nvml.report_xid(0, 154)
    state = await gpu_node.until(lambda state: not state.unhealthy)
    assert state.free == tuple(range(8))
    assert H100.uuids[6] in await gpu_node.until_told("GpuReturned")


async def test_cordoned_gpus_are_not_free_and_held_ones_stay_held(gpu_node: Node) -> None:
    gpu_node.kubelet.pods = {"team/a": {"main": [H100.uuids[1]]}}
    await gpu_node.until(lambda state: bool(state.held))
    gpu_node.cordon(f"0,1,{H100.uuids[4]}")
    state = await gpu_node.until(lambda state: bool(state.unhealthy))
    assert state.unhealthy == dict.fromkeys([0, 1, 4], CORDONED)
    assert state.free == (2, 3, 5, 6, 7)
    assert [holder.gpus for holder in state.held] == [(1,)]
    gpu_node.cordon("")
    state = await gpu_node.until(lambda state: not state.unhealthy)
    assert state.free == (0, 2, 3, 4, 5, 6, 7)


async def test_an_agent_that_publishes_once_follows_the_cordon_too(gpu_node: Node) -> None:
    gpu_node.cluster.put(Resource.NODES, node("n", {CORDON_ANNOTATION: "2"}))
    await agent.run(load_settings([*gpu_node.options, "--once"]))
    assert gpu_node.state.unhealthy == {2: CORDONED}
    assert gpu_node.state.free == (0, 1, 3, 4, 5, 6, 7)


async def test_a_cordon_that_cannot_be_read_is_told_and_cordons_nothing(gpu_node: Node) -> None:
    gpu_node.cordon("0,eight")
    assert "'eight' is neither the index nor the UUID" in await gpu_node.until_told("GpuCordonUnreadable")
    assert gpu_node.state.unhealthy == {}


async def test_the_node_is_labelled_and_its_agents_lease_is_kept(gpu_node: Node) -> None:
    assert gpu_node.cluster.labels("n") == {INTERCONNECT_LABEL: "nvswitch", GPU_COUNT_LABEL: "8"}
    assert gpu_node.cluster.renewals == [("gpu-topology-agent", "n")]
