"""A vendor's device plugin on a unix socket: registers, tells its devices, and answers as NVIDIA's does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio

from topology_agent.device_plugin.deviceplugin_pb2 import (
    AllocateRequest,
    AllocateResponse,
    ContainerAllocateResponse,
    ContainerPreferredAllocationResponse,
    Device,
    DevicePluginOptions,
    ListAndWatchResponse,
    PreferredAllocationRequest,
    PreferredAllocationResponse,
    RegisterRequest,
)

LATER_FIELD = b"\xfa\x3e\x03new"
"""A field, number 1007, that no version of the API has yet: what is passed on has to keep it."""


class FakeVendorPlugin:
    """Prefers the first devices that it is offered, in the order of its own list.

    As NVIDIA's, it starts again whenever the socket that it registers at is made anew.

    Attributes:
        health: device id to whether it is healthy.
        registrations: how often it has registered.
        asked: sizes that a preference was asked of it for.
        started: ids for which PreStartContainer was called.
        watchers: how many streams of devices it was asked for.
    """

    def __init__(
        self,
        folder: Path,
        devices: Sequence[str],
        *,
        resource: str = "nvidia.com/gpu",
        prefers: bool = True,
        registers_at: str = "gpu-topology.sock",
    ) -> None:
        self.health = dict.fromkeys(devices, True)
        self.resource = resource
        self.registrations = 0
        self.asked: list[int] = []
        self.started: list[str] = []
        self.watchers = 0
        self._prefers = prefers
        self._socket = folder / f"{resource.replace('/', '-')}.sock"
        self._kubelet = folder / registers_at
        self._changed = asyncio.Condition()
        self._server: Any = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def set_health(self, device: str, *, healthy: bool) -> None:
        self.health[device] = healthy
        async with self._changed:
            self._changed.notify_all()

    async def _run(self) -> None:
        while True:
            seen = await _when_there(self._kubelet)
            await self._serve()
            try:
                await self._register()
                while _inode(self._kubelet) in (seen, None):  # noqa: ASYNC110  a folder has no events
                    await asyncio.sleep(0.01)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
            finally:
                await self._server.stop(None)

    async def _serve(self) -> None:
        self._server = grpc.aio.server()
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        methods = {
            "GetDevicePluginOptions": unary(self._options),
            "ListAndWatch": stream(self._list_and_watch),
            "GetPreferredAllocation": unary(self._prefer),
            "Allocate": unary(self._allocate),
            "PreStartContainer": unary(self._pre_start),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", methods),))
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()

    async def _register(self) -> None:
        request = RegisterRequest(
            version="v1beta1",
            endpoint=self._socket.name,
            resource_name=self.resource,
            options=DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=self._prefers),
        )
        async with grpc.aio.insecure_channel(f"unix:{self._kubelet}", _FRESH) as channel:
            call = channel.unary_unary("/v1beta1.Registration/Register", bytes, bytes)
            await call(request.SerializeToString() + LATER_FIELD, timeout=5)
        self.registrations += 1

    async def _options(self, _request: bytes, _context: Any) -> bytes:
        options = DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=self._prefers)
        return options.SerializeToString() + LATER_FIELD

    async def _list_and_watch(self, _request: bytes, _context: Any) -> AsyncIterator[bytes]:
        self.watchers += 1
        while True:
            devices = [
                Device(ID=device, health="Healthy" if healthy else "Unhealthy")
                for device, healthy in self.health.items()
            ]
            yield ListAndWatchResponse(devices=devices).SerializeToString() + LATER_FIELD
            async with self._changed:
                await self._changed.wait()

    async def _prefer(self, request: bytes, context: Any) -> bytes:
        if not self._prefers:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no preferences")
        answer = PreferredAllocationResponse()
        for asked in PreferredAllocationRequest.FromString(request).container_requests:
            self.asked.append(asked.allocation_size)
            offered = [device for device in self.health if device in set(asked.available_deviceIDs)]
            preferred = [*asked.must_include_deviceIDs, *offered][: asked.allocation_size]
            answer.container_responses.append(ContainerPreferredAllocationResponse(deviceIDs=preferred))
        return answer.SerializeToString()

    async def _allocate(self, request: bytes, context: Any) -> bytes:
        answer = AllocateResponse()
        for asked in AllocateRequest.FromString(request).container_requests:
            if any(device not in self.health for device in asked.devices_ids):
                await context.abort(grpc.StatusCode.UNKNOWN, "invalid allocation request")
            visible = ",".join(sorted(asked.devices_ids))
            answer.container_responses.append(ContainerAllocateResponse(envs={"NVIDIA_VISIBLE_DEVICES": visible}))
        return answer.SerializeToString() + LATER_FIELD

    async def _pre_start(self, request: bytes, _context: Any) -> bytes:
        self.started.append(request.decode(errors="replace"))
        return LATER_FIELD


_FRESH = [("grpc.use_local_subchannel_pool", 1)]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ctime_ns
    except FileNotFoundError:
        return None


async def _when_there(path: Path) -> int:
    while (seen := _inode(path)) is None:  # noqa: ASYNC110  a folder has no events
        await asyncio.sleep(0.01)
    return seen
