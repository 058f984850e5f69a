"""The PodResources client against a real gRPC server on a unix socket, and the generated code against its source."""

import sys
from pathlib import Path
from subprocess import run

import grpc
import pytest

from gpu_topology.errors import SourceError
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent.kubelet.client import KubeletBusyError, PodResourcesClient
from topology_agent.kubelet.listing import ContainerListing, Listing, Slice

ROOT = Path(__file__).parents[2]


async def test_containers_come_with_their_devices_and_without_those_of_other_vendors(tmp_path: Path) -> None:
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.allocatable = ["GPU-b", "GPU-a"]
        kubelet.pods = {"team/train": {"main": ["GPU-b", "GPU-a"], "side": []}}
        listing = await client.read()
    assert listing.allocatable == ("GPU-a", "GPU-b")
    assert listing.containers == (
        ContainerListing("team/train", "main", ("GPU-a", "GPU-b")),
        ContainerListing("team/train", "side", ()),
    )


async def test_parts_of_gpus_come_with_the_name_of_their_resource(tmp_path: Path) -> None:
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.resource = "nvidia.com/mig-1g.10gb"
        kubelet.allocatable = ["MIG-b", "MIG-a"]
        kubelet.pods = {"team/infer": {"main": ["MIG-b"]}}
        listing = await client.read()
    assert listing.allocatable == ()
    assert listing.allocatable_slices == (Slice(kubelet.resource, "MIG-a"), Slice(kubelet.resource, "MIG-b"))
    (container,) = listing.containers
    assert container == ContainerListing("team/infer", "main", (), (Slice(kubelet.resource, "MIG-b"),))


async def test_a_kubelet_that_is_not_there_is_a_source_error_that_names_the_socket(tmp_path: Path) -> None:
    async with PodResourcesClient(tmp_path / "none.sock") as client:
        with pytest.raises(SourceError, match=r"none\.sock is not there"):
            await client.read()


async def test_a_kubelet_that_is_asked_too_often_says_so(tmp_path: Path) -> None:
    """The kubelet limits the calls to 100 a second."""
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        kubelet.refuses = grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(KubeletBusyError, match="RESOURCE_EXHAUSTED: rejected by rate limit"):
            await client.read()


async def test_a_socket_that_nobody_serves_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "k.sock").touch()
    async with PodResourcesClient(tmp_path / "k.sock", timeout_seconds=1) as client:
        with pytest.raises(SourceError, match="the kubelet answers"):
            await client.read()


async def test_the_client_comes_back_after_a_restart_and_tells_the_two_kubelets_apart(tmp_path: Path) -> None:
    async with FakeKubelet(tmp_path / "k.sock") as kubelet, PodResourcesClient(kubelet.socket) as client:
        before = await client.read()
        again = await client.read()
        await kubelet.stop()
        with pytest.raises(SourceError):
            await client.read()
        await kubelet.start()
        after = await _read_when_back(client)
    assert before.incarnation == again.incarnation
    assert before.incarnation != after.incarnation


async def _read_when_back(client: PodResourcesClient) -> Listing:
    for _ in range(100):
        try:
            return await client.read()
        except SourceError:
            continue
    pytest.fail("the client does not come back")


def test_the_generated_code_is_what_its_source_generates(tmp_path: Path) -> None:
    source = Path("topology_agent/kubelet/podresources.proto")
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi")]
    run([sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, str(source)], cwd=ROOT, check=True)
    for suffix in ("_pb2.py", "_pb2.pyi"):
        generated = source.with_name(source.stem + suffix)
        assert (ROOT / generated).read_text() == (tmp_path / generated).read_text()
