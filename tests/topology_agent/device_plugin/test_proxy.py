"""The proxy between a device manager and a vendor's plugin that obey the kubelet's documented behaviour."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from gpu_topology.contract import Allocation, encode_topology
from gpu_topology.placement import assess, tables_of
from gpu_topology.request import GPU_RESOURCE, ContainerKind, ContainerRequest, GpuRequest
from tests.topology_agent.device_plugin.fake_device_manager import FakeDeviceManager
from tests.topology_agent.device_plugin.fake_vendor_plugin import LATER_FIELD, FakeVendorPlugin
from tests.topology_agent.device_plugin.pods import api_pod, record
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent.device_plugin.advisor import Advisor
from topology_agent.device_plugin.proxy import REGISTRATION_SOCKET_NAME, Proxy
from topology_agent.kubelet.client import PodResourcesClient
from topology_agent.occupancy import Occupancy
from topology_agent.pods import PodCache
from topology_agent.profiles import load_machine
from topology_agent.report import NodeReport
from topology_agent.simulation import with_uuids

TOPOLOGY = with_uuids(load_machine("dgx-1v"), "n")
TABLES = tables_of(TOPOLOGY)
UUIDS = [str(gpu.uuid) for gpu in TOPOLOGY.gpus]
CHECK_SECONDS = 0.05


def train(*sizes: int) -> GpuRequest:
    return GpuRequest(tuple(ContainerRequest(f"c{index}", gpus) for index, gpus in enumerate(sizes)))


def best(request: GpuRequest, free: Sequence[str] = UUIDS) -> dict[str, list[str]]:
    """What the extender promises for a request."""
    mask = sum(1 << UUIDS.index(uuid) for uuid in free)
    sets = assess(TABLES, mask, request, Allocation.BEST).containers
    return {name: sorted(UUIDS[gpu] for gpu in gpus) for name, gpus in sets}


@dataclass
class Node:
    """All that takes part.

    Attributes:
        folder: of the sockets.
        kubelet: the kubelet's device manager.
        listed: its PodResources.
        pods: what we know of the API server's pods.
        advisor: ours.
        proxy: ours; another one after `start_proxy`.
    """

    folder: Path
    kubelet: FakeDeviceManager
    listed: FakeKubelet
    pods: PodCache
    advisor: Advisor
    proxy: Proxy = field(init=False)
    serving: asyncio.Task[None] | None = None

    def start_proxy(self) -> None:
        self.proxy = Proxy(self.folder, self.advisor.advise, check_seconds=CHECK_SECONDS)
        self.serving = asyncio.create_task(self.proxy.run())

    async def stop_proxy(self) -> None:
        if self.serving is not None:
            self.serving.cancel()
            await asyncio.wait([self.serving])

    def plugin(self, **options: object) -> FakeVendorPlugin:
        return FakeVendorPlugin(self.folder, UUIDS, **options)  # type: ignore[arg-type]

    def create(self, name: str, request: GpuRequest, **annotations: str) -> str:
        """Let the API server have a pod."""
        self.pods.changed(api_pod(name, request, annotations))
        return f"default/{name}"


@asynccontextmanager
async def node(folder: Path, *, hardware: bool = True) -> AsyncIterator[Node]:
    listed = FakeKubelet(folder / "pod-resources.sock")
    async with listed, FakeDeviceManager(folder, listed) as kubelet:
        await listed.stop()
        await listed.start()  # the device manager has emptied the folder
        async with PodResourcesClient(listed.socket) as client:
            pods = PodCache(trust_records=True)
            advisor = Advisor(client, pods)
            topology = encode_topology(TOPOLOGY) if hardware else None
            advisor.heard(NodeReport(topology, Occupancy(None), Allocation.BEST))
            there = Node(folder, kubelet, listed, pods, advisor)
            there.start_proxy()
            try:
                yield there
            finally:
                await there.stop_proxy()


async def test_the_kubelet_gets_the_plugin_and_its_devices_through_us(tmp_path: Path) -> None:
    """Under an endpoint of our own, with a preference offered, and all else as the plugin says."""
    async with node(tmp_path) as there, there.plugin(prefers=False):
        assert await there.kubelet.healthy(8) == sorted(UUIDS)
        endpoint = there.kubelet.endpoints[GPU_RESOURCE]
        assert endpoint.registration.endpoint == "gpu-topology-nvidia.com-gpu.sock"
        assert endpoint.registration.version == "v1beta1"
        assert endpoint.options.get_preferred_allocation_available
        assert endpoint.options.pre_start_required
        assert there.proxy.enforcing


async def test_what_is_passed_on_keeps_fields_that_we_do_not_know(tmp_path: Path) -> None:
    """A later version of the API may have them."""
    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        endpoint = there.kubelet.endpoints[GPU_RESOURCE]
        await there.kubelet.admit("default/a", train(2))
        assert endpoint.last_bytes.endswith(LATER_FIELD)
        assert endpoint.registration.SerializeToString().endswith(LATER_FIELD)
        assert endpoint.options.SerializeToString().endswith(LATER_FIELD)
        assert there.kubelet.allocated[0].endswith(LATER_FIELD)
        assert await endpoint.call("PreStartContainer", b"ids") == LATER_FIELD
        assert plugin.started == ["ids"]


async def test_the_plugins_errors_are_the_kubelets(tmp_path: Path) -> None:
    async with node(tmp_path) as there, there.plugin():
        await there.kubelet.healthy(8)
        with pytest.raises(grpc.aio.AioRpcError, match="invalid allocation request") as caught:
            await there.kubelet.endpoints[GPU_RESOURCE].call("Allocate", b"\x0a\x04\x0a\x02no")
    assert caught.value.code() is grpc.StatusCode.UNKNOWN


async def test_every_change_of_health_reaches_the_kubelet(tmp_path: Path) -> None:
    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        await plugin.set_health(UUIDS[3], healthy=False)
        assert UUIDS[3] not in await there.kubelet.healthy(7)


@pytest.mark.parametrize(
    "sizes", [(1,), (2,), (3,), (4,), (8,), (2, 2), (1, 3), (4, 2, 2)], ids=lambda sizes: "+".join(map(str, sizes))
)
async def test_a_pod_gets_what_the_extender_promised(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    """Container by container; the plugin, which would take the first ones, is not asked."""
    request = train(*sizes)
    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        assert await there.kubelet.admit(there.create("a", request), request) == best(request)
        assert plugin.asked == []


async def test_the_pod_being_served_is_told_from_those_beside_it(tmp_path: Path) -> None:
    """Its wish decides: without it a single GPU would be another one than four that a wish holds together."""
    request = GpuRequest(train(2).containers)
    async with node(tmp_path) as there, there.plugin():
        await there.kubelet.healthy(8)
        there.listed.pods["default/no-gpus"] = {"web": []}
        there.create("no-gpus", GpuRequest())
        there.listed.pods["default/early"] = {"main": []}
        there.pods.changed(api_pod("early", train(2), started=True))
        recorded = [UUIDS[1], UUIDS[6]]
        pod = there.create("a", request, **record("a", c0=recorded))
        assert await there.kubelet.admit(pod, request, others=["log-shipper"]) == {"c0": sorted(recorded)}


async def test_a_pod_whose_news_come_late_is_waited_for(tmp_path: Path) -> None:
    """The kubelet's watch may be ahead of ours by milliseconds."""
    request = train(2)
    assigned = record("late", c0=[UUIDS[1], UUIDS[6]])
    async with node(tmp_path) as there, there.plugin():
        await there.kubelet.healthy(8)
        admitted = asyncio.create_task(there.kubelet.admit("default/late", request))
        while "default/late" not in there.listed.pods:  # noqa: ASYNC110  the list has no events
            await asyncio.sleep(0)
        there.create("late", request, **assigned)
        assert (await admitted)["c0"] == sorted([UUIDS[1], UUIDS[6]])


async def test_without_the_api_server_a_pod_gets_the_best_set_of_its_size(tmp_path: Path) -> None:
    async with node(tmp_path) as there, there.plugin():
        await there.kubelet.healthy(8)
        assert await there.kubelet.admit("default/unknown", train(3)) == best(train(3))


async def test_without_the_list_of_pods_too(tmp_path: Path) -> None:
    async with node(tmp_path) as there, there.plugin():
        await there.kubelet.healthy(8)
        there.listed.refuses = grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await there.kubelet.admit("default/a", train(4)) == best(train(4))


async def test_numa_alignment_is_kept(tmp_path: Path) -> None:
    """The set is the best of those that the kubelet offers, and what it forces is in it."""
    aligned = UUIDS[4:]
    async with node(tmp_path) as there, there.plugin():
        await there.kubelet.healthy(8)
        got = await there.kubelet.admit(there.create("a", train(2)), train(2), among=aligned)
        assert got == best(train(2), aligned)
        everything = await there.kubelet.prefer(GPU_RESOURCE, set(UUIDS), set(aligned), 6)
    assert len(everything) == 6
    assert set(aligned) <= set(everything)


async def test_an_init_containers_gpus_are_chosen_for_the_container_that_takes_them_over(tmp_path: Path) -> None:
    """Init containers are not listed."""
    init = ContainerRequest("prepare", 2, ContainerKind.INIT)
    request = GpuRequest((init, ContainerRequest("train", 4)))
    async with node(tmp_path) as there, there.plugin():
        await there.kubelet.healthy(8)
        got = await there.kubelet.admit(there.create("a", request), request)
    assert got == best(request)
    assert set(got["prepare"]) < set(got["train"])


async def test_parts_of_gpus_are_left_to_the_plugin(tmp_path: Path) -> None:
    async with (
        node(tmp_path) as there,
        FakeVendorPlugin(tmp_path, ["MIG-a", "MIG-b"], resource="nvidia.com/mig-1g.10gb") as plugin,
    ):
        await there.kubelet.healthy(2, "nvidia.com/mig-1g.10gb")
        assert await there.kubelet.prefer("nvidia.com/mig-1g.10gb", {"MIG-b", "MIG-a"}, set(), 1) == ["MIG-a"]
        assert plugin.asked == [1]
        assert not there.proxy.enforcing


async def test_replicas_of_shared_gpus_are_left_to_the_plugin_whether_or_not_it_has_a_preference(
    tmp_path: Path,
) -> None:
    """They have the resource name of whole GPUs, unless an administrator gives them another."""
    replicas = [f"{UUIDS[0]}::{number}" for number in range(4)]
    async with node(tmp_path) as there:
        async with FakeVendorPlugin(tmp_path, replicas) as plugin:
            await there.kubelet.healthy(4)
            assert await there.kubelet.prefer(GPU_RESOURCE, set(replicas), set(), 1) == replicas[:1]
            assert plugin.asked == [1]
        await there.kubelet.healthy(0)
        async with FakeVendorPlugin(tmp_path, replicas, prefers=False):
            await there.kubelet.healthy(4)
            assert await there.kubelet.prefer(GPU_RESOURCE, set(replicas), set(), 1) == []


async def test_before_the_hardware_is_known_the_plugin_decides(tmp_path: Path) -> None:
    async with node(tmp_path, hardware=False) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        got = await there.kubelet.admit("default/a", train(2))
    assert got == {"c0": sorted(UUIDS[:2])}
    assert plugin.asked == [2]


async def test_a_defect_of_ours_leaves_the_choice_to_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kubelet would fail the pod for good."""

    async def broken(_: object) -> None:
        raise ZeroDivisionError

    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.stop_proxy()
        monkeypatch.setattr(there.advisor, "advise", broken)
        there.start_proxy()
        await there.kubelet.healthy(8)
        assert await there.kubelet.prefer(GPU_RESOURCE, set(UUIDS), set(), 2) == UUIDS[:2]
        assert plugin.asked == [2]


async def test_what_the_kubelet_refuses_is_refused_and_may_be_tried_again(tmp_path: Path) -> None:
    async with node(tmp_path) as there:
        there.kubelet.refuses = "unsupported version"
        async with there.plugin() as plugin:
            await asyncio.sleep(4 * CHECK_SECONDS)
            assert plugin.registrations == 0
            assert not there.proxy.enforcing
            there.kubelet.refuses = None
            assert len(await there.kubelet.healthy(8)) == 8


async def test_a_folder_in_which_nothing_can_listen_does_not_end_the_agent(tmp_path: Path) -> None:
    """It is said in the log; here the paths are too long for sockets."""

    async def nobody(_: object) -> None:
        raise AssertionError

    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    (folder / "kubelet.sock").touch()
    with capture_logs() as logs:
        task = asyncio.create_task(Proxy(folder, nobody, check_seconds=CHECK_SECONDS).run())
        while not logs:  # noqa: ASYNC110  the log has no events to wait for
            await asyncio.sleep(0.01)
    assert "nothing can listen on" in logs[0]["error"]
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_a_restarted_plugin_is_served_again(tmp_path: Path) -> None:
    async with node(tmp_path) as there:
        async with there.plugin():
            await there.kubelet.healthy(8)
        await there.kubelet.healthy(0)
        assert not there.proxy.enforcing
        async with there.plugin() as plugin:
            assert len(await there.kubelet.healthy(8)) == 8
            assert await there.kubelet.admit(there.create("a", train(4)), train(4)) == best(train(4))
            assert plugin.asked == []


async def test_a_restarted_kubelet_gets_everything_again(tmp_path: Path) -> None:
    """It has emptied its folder; the plugin sees our new socket, and registers."""
    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        await there.kubelet.stop()
        await there.kubelet.start()
        await there.listed.stop()
        await there.listed.start()
        assert len(await there.kubelet.healthy(8)) == 8
        assert plugin.registrations == 2
        assert await there.kubelet.admit(there.create("a", train(4)), train(4)) == best(train(4))


async def test_a_restarted_proxy_gets_everything_again(tmp_path: Path) -> None:
    """While it is away the kubelet has no devices, so that no pod is given GPUs past it."""
    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        await there.stop_proxy()
        await there.kubelet.healthy(0)
        there.start_proxy()
        assert len(await there.kubelet.healthy(8)) == 8
        assert plugin.registrations == 2
        assert await there.kubelet.admit(there.create("a", train(4)), train(4)) == best(train(4))


async def test_a_kubelet_that_drops_the_plugin_is_registered_at_again(tmp_path: Path) -> None:
    """And the plugin is not asked for a second stream of devices, for it would tell only one of them."""
    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        await there.kubelet.drop(GPU_RESOURCE)
        assert len(await there.kubelet.healthy(8)) == 8
        assert (plugin.registrations, plugin.watchers) == (1, 1)


async def test_our_socket_is_made_again_when_somebody_removes_it(tmp_path: Path) -> None:
    async with node(tmp_path) as there, there.plugin() as plugin:
        await there.kubelet.healthy(8)
        (tmp_path / REGISTRATION_SOCKET_NAME).unlink()
        await there.kubelet.when(lambda: len(there.kubelet.registered) > 1)
        assert len(await there.kubelet.healthy(8)) == 8
        assert plugin.registrations == 2


async def test_pods_come_and_go_through_restarts_of_everything_and_no_gpu_is_given_twice(tmp_path: Path) -> None:
    """Each pod gets what was promised at its time."""
    async with node(tmp_path) as there, there.plugin() as plugin:
        running: dict[str, list[str]] = {}
        for number, size in enumerate([2, 1, 4, 1, 3, 2, 2, 1, 4, 3]):
            if number == 3:
                await there.kubelet.drop(GPU_RESOURCE)
            if number == 6:
                await there.stop_proxy()
                await there.kubelet.healthy(0)
                there.start_proxy()
            if number == 8:
                await plugin.stop()
                await there.kubelet.healthy(0)
                await plugin.start()
            free = sorted(set(await there.kubelet.healthy(8)).difference(*running.values()))
            while len(free) < size:
                pod, devices = running.popitem()
                there.kubelet.release(pod)
                free = sorted([*free, *devices])
            pod = there.create(f"p{number}", train(size))
            got = await there.kubelet.admit(pod, train(size))
            assert got == best(train(size), free)
            running[pod] = got["c0"]
    assert plugin.asked == []
