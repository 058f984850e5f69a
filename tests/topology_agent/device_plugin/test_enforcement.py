"""The mode as a whole: its settings, its generated code, and how it stands in the agent."""

import asyncio
import re
import sys
from pathlib import Path
from subprocess import run

import pytest

from gpu_topology.contract import Allocation, encode_topology
from gpu_topology.errors import SettingsError
from gpu_topology.placement import WorthModels
from gpu_topology.request import ContainerRequest, GpuRequest
from tests.topology_agent.device_plugin.fake_device_manager import FakeDeviceManager
from tests.topology_agent.device_plugin.fake_vendor_plugin import FakeVendorPlugin
from tests.topology_agent.device_plugin.pods import api_pod, record
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent.device_plugin.enforcement import Enforcement
from topology_agent.kubelet.client import PodResourcesClient
from topology_agent.occupancy import Occupancy
from topology_agent.pods import PodCache
from topology_agent.profiles import load_machine
from topology_agent.real_node import RealNode
from topology_agent.report import NodeReport
from topology_agent.settings import load_settings
from topology_agent.simulation import with_uuids
from topology_agent.sources.nvml import Reading

ROOT = Path(__file__).parents[3]
TOPOLOGY = with_uuids(load_machine("dgx-1v"), "n")
UUIDS = [str(gpu.uuid) for gpu in TOPOLOGY.gpus]
PAIR = GpuRequest((ContainerRequest("main", 2),))


def test_the_mode_is_off_unless_it_is_asked_for() -> None:
    assert not load_settings(["--node-name", "n"]).enforce


@pytest.mark.parametrize("more", [["--machine", "dgx-1v"], ["--once"]], ids=["a simulated node", "once"])
def test_the_mode_needs_a_kubelet_and_time(more: list[str]) -> None:
    with pytest.raises(SettingsError, match=re.escape("--enforce needs a kubelet")):
        load_settings(["--node-name", "n", "--enforce", *more])


def test_the_generated_code_is_what_its_source_generates(tmp_path: Path) -> None:
    source = Path("topology_agent/device_plugin/deviceplugin.proto")
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi")]
    run([sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, str(source)], cwd=ROOT, check=True)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        generated = source.with_name(source.stem + suffix)
        assert (ROOT / generated).read_text() == (tmp_path / generated).read_text()


async def test_the_agent_says_that_the_set_is_enforced_once_it_is(tmp_path: Path) -> None:
    """And heeds what is known of the pods: here a record."""
    pods = PodCache(trust_records=True)
    pods.replaced([api_pod("a", PAIR, record("a", main=[UUIDS[1], UUIDS[6]]))])
    reports: list[NodeReport] = []
    listed = FakeKubelet(tmp_path / "pod-resources.sock")
    async with FakeDeviceManager(tmp_path, listed) as kubelet, listed, PodResourcesClient(listed.socket) as client:
        enforcement = Enforcement(pods, client, tmp_path, WorthModels())
        node = RealNode(lambda: Reading(TOPOLOGY), client, reports.append, settle_seconds=0)
        node.allocation = enforcement.allocation
        await node.look_at_hardware()
        assert reports[-1].allocation is Allocation.VENDOR
        enforcement.heard(reports[-1])
        task = asyncio.create_task(enforcement.run())
        async with FakeVendorPlugin(tmp_path, UUIDS):
            await kubelet.healthy(8)
            assert node.report.allocation is Allocation.BEST
            got = await kubelet.admit("default/a", PAIR)
        task.cancel()
        await asyncio.wait([task])
    assert got == {"main": sorted([UUIDS[1], UUIDS[6]])}


async def test_plugins_may_register_only_once_the_hardware_is_known(tmp_path: Path) -> None:
    """A pod that comes at once is not to get less than it was promised."""
    listed = FakeKubelet(tmp_path / "pod-resources.sock")
    async with FakeDeviceManager(tmp_path, listed) as kubelet, listed, PodResourcesClient(listed.socket) as client:
        enforcement = Enforcement(PodCache(), client, tmp_path, WorthModels())
        task = asyncio.create_task(enforcement.run())
        async with FakeVendorPlugin(tmp_path, UUIDS) as plugin:
            await asyncio.sleep(0.1)
            assert plugin.registrations == 0
            enforcement.heard(NodeReport(encode_topology(TOPOLOGY), Occupancy(None), Allocation.VENDOR))
            assert len(await kubelet.healthy(8)) == 8
        task.cancel()
        await asyncio.wait([task])
