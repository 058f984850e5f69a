"""A kubelet's device manager on a unix socket: registers plugins, and serves pods as the real one does.

After Kubernetes v1.36, pkg/kubelet/cm/devicemanager. The pods are listed at a `FakeKubelet` while they are served.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio

from gpu_topology.request import ContainerKind, GpuRequest
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent.device_plugin.deviceplugin_pb2 import (
    AllocateRequest,
    ContainerAllocateRequest,
    ContainerPreferredAllocationRequest,
    DevicePluginOptions,
    ListAndWatchResponse,
    PreferredAllocationRequest,
    PreferredAllocationResponse,
    RegisterRequest,
)

GPUS = "nvidia.com/gpu"


@dataclass
class Endpoint:
    """A plugin as the kubelet knows it."""

    channel: Any
    options: DevicePluginOptions
    registration: RegisterRequest
    devices: ListAndWatchResponse = field(default_factory=ListAndWatchResponse)
    last_bytes: bytes = b""

    async def call(self, method: str, request: bytes) -> bytes:
        answer: bytes = await self.channel.unary_unary(f"/v1beta1.DevicePlugin/{method}", bytes, bytes)(
            request, timeout=5
        )
        return answer


class FakeDeviceManager:
    """Start it, let it admit pods, restart it.

    Attributes:
        endpoints: resource to the plugin that serves it; gone as soon as the plugin's devices are no longer told.
        registered: how often each endpoint's name was registered.
        refuses: what registrations are refused with, or None.
        allocated: the raw answers to Allocate.
    """

    def __init__(self, folder: Path, listed: FakeKubelet) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.registered: list[str] = []
        self.refuses: str | None = None
        self.allocated: list[bytes] = []
        self._folder = folder
        self._listed = listed
        self._taken: dict[str, set[str]] = {}
        self._news = asyncio.Condition()
        self._streams: set[asyncio.Task[None]] = set()
        self._server: Any = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Remove all sockets of the folder, then serve, as the kubelet does."""
        for path in self._folder.iterdir():
            if path.is_socket():
                path.unlink()
        self._server = grpc.aio.server()
        methods = {
            "Register": grpc.unary_unary_rpc_method_handler(self._register, RegisterRequest.FromString),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.Registration", methods),))
        self._server.add_insecure_port(f"unix:{self._folder / 'kubelet.sock'}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)
        for stream in self._streams:
            stream.cancel()
        for endpoint in self.endpoints.values():
            await endpoint.channel.close(None)
        self.endpoints.clear()

    async def drop(self, resource: str) -> None:
        """Forget a plugin, as the kubelet does by mistake when it registers anew too quickly."""
        await self.endpoints[resource].channel.close(None)
        await self.when(lambda: resource not in self.endpoints)

    async def when(self, holds: Any) -> None:
        """Wait until something holds of what plugins have told."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(holds)

    async def healthy(self, count: int, resource: str = GPUS) -> list[str]:
        """The healthy devices, once there are so many."""
        await self.when(lambda: len(self._healthy(resource)) == count)
        return sorted(self._healthy(resource))

    async def admit(
        self, pod: str, request: GpuRequest, *, among: Sequence[str] | None = None, others: Sequence[str] = ()
    ) -> dict[str, list[str]]:
        """Serve a pod's containers one after the other.

        Args:
            pod: "<namespace>/<name>".
            request: the pod's.
            among: the devices that NUMA alignment leaves, as with the Topology Manager; None for all.
            others: containers of the pod that ask for no GPU.
        """
        shown = [container.name for container in request.containers if container.kind is not ContainerKind.INIT]
        self._listed.pods[pod] = {name: [] for name in (*others, *shown)}
        reusable: set[str] = set()
        got: dict[str, list[str]] = {}
        self._taken[pod] = set()
        for container in request.containers:
            devices = await self._allocate(container.gpus, reusable, among)
            reusable = reusable | devices if container.kind is ContainerKind.INIT else reusable - devices
            self._taken[pod] |= devices
            got[container.name] = sorted(devices)
            if container.name in shown:
                self._listed.pods[pod][container.name] = sorted(devices)
        return got

    def release(self, pod: str) -> None:
        del self._listed.pods[pod], self._taken[pod]

    def _healthy(self, resource: str = GPUS) -> set[str]:
        endpoint = self.endpoints.get(resource)
        return {device.ID for device in endpoint.devices.devices if device.health == "Healthy"} if endpoint else set()

    async def _allocate(self, needed: int, reusable: set[str], among: Sequence[str] | None) -> set[str]:
        allocated = set(sorted(reusable)[:needed])
        if len(allocated) < needed:
            free = self._healthy() - {device for devices in self._taken.values() for device in devices}
            allocated |= await self._preferred(needed, allocated, free & set(free if among is None else among))
        request = AllocateRequest(container_requests=[ContainerAllocateRequest(devices_ids=sorted(allocated))])
        self.allocated.append(await self.endpoints[GPUS].call("Allocate", request.SerializeToString()))
        return allocated

    async def _preferred(self, needed: int, allocated: set[str], free: set[str]) -> set[str]:
        rest = needed - len(allocated)
        assert len(free) >= rest, "requested number of devices unavailable"
        endpoint = self.endpoints[GPUS]
        assert endpoint.options.get_preferred_allocation_available
        preferred = await self.prefer(GPUS, free | allocated, allocated, needed)
        chosen = [device for device in preferred if device in free] + sorted(free - set(preferred))
        return set(chosen[:rest])

    async def prefer(self, resource: str, available: set[str], required: set[str], size: int) -> list[str]:
        """Ask the plugin of a resource for its preference."""
        asked = ContainerPreferredAllocationRequest(
            available_deviceIDs=sorted(available), must_include_deviceIDs=sorted(required), allocation_size=size
        )
        request = PreferredAllocationRequest(container_requests=[asked]).SerializeToString()
        answer = await self.endpoints[resource].call("GetPreferredAllocation", request)
        containers = PreferredAllocationResponse.FromString(answer).container_responses
        return list(containers[0].deviceIDs) if containers else []

    async def _register(self, request: RegisterRequest, context: Any) -> bytes:
        if self.refuses is not None:
            await context.abort(grpc.StatusCode.UNKNOWN, self.refuses)
        socket = self._folder / request.endpoint
        channel = grpc.aio.insecure_channel(f"unix:{socket}", [("grpc.use_local_subchannel_pool", 1)])
        get_options = channel.unary_unary("/v1beta1.DevicePlugin/GetDevicePluginOptions", bytes, bytes)
        options = DevicePluginOptions.FromString(await get_options(b"", timeout=5))
        endpoint = self.endpoints[request.resource_name] = Endpoint(channel, options, request)
        self.registered.append(request.endpoint)
        self._streams.add(asyncio.create_task(self._watch(request.resource_name, endpoint)))
        return b""

    async def _watch(self, resource: str, endpoint: Endpoint) -> None:
        try:
            call = endpoint.channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch", bytes, bytes)
            async for answer in call(b""):
                endpoint.last_bytes = answer
                endpoint.devices = ListAndWatchResponse.FromString(answer)
                await self._tell()
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            pass
        finally:
            if self.endpoints.get(resource) is endpoint:
                del self.endpoints[resource]
            await endpoint.channel.close(None)
            await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()
