"""What the kubelet sees in a plugin's place, and what a plugin sees in the kubelet's place: the two gRPC services."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import structlog

from gpu_topology.errors import SourceError
from topology_agent.device_plugin.client import (
    MOST_BYTES,
    NOTHING,
    PLUGIN_SERVICE,
    REGISTRATION_SERVICE,
    PluginClient,
)
from topology_agent.device_plugin.decide import Question
from topology_agent.device_plugin.deviceplugin_pb2 import (
    ContainerPreferredAllocationResponse,
    DevicePluginOptions,
    PreferredAllocationRequest,
    PreferredAllocationResponse,
    RegisterRequest,
)
from topology_agent.device_plugin.feed import DeviceFeed

Advise: TypeAlias = Callable[[Sequence[Question]], Awaitable[Sequence[Sequence[str]] | None]]
"""The ids of the devices for each question; None where the plugin should be asked."""

_Call: TypeAlias = Callable[..., Awaitable[bytes]]
_ANSWER_LIMIT: Final = [("grpc.max_receive_message_length", MOST_BYTES)]

_log = structlog.get_logger(__name__)


class PluginServer:
    """A plugin's calls, served under another socket: passed on unchanged, but for those that advice is taken on."""

    def __init__(self, plugin: PluginClient, feed: DeviceFeed, advise: Advise | None) -> None:
        """Serve a plugin.

        Args:
            plugin: the plugin.
            feed: its devices.
            advise: which devices to prefer; None for resources that the plugin decides on itself.
        """
        self._plugin = plugin
        self._feed = feed
        self._advise = advise
        self._plugin_prefers = False
        self._server = grpc.aio.server(options=_ANSWER_LIMIT)

    async def start(self, socket: Path) -> None:
        """Listen on a socket of this name; one that is there already is replaced.

        Raises:
            SourceError: that cannot be: its folder cannot be written, or its path is too long.
        """
        methods = {
            "GetDevicePluginOptions": grpc.unary_unary_rpc_method_handler(self._get_options),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._list_and_watch),
            "GetPreferredAllocation": grpc.unary_unary_rpc_method_handler(self._get_preferred_allocation),
            "Allocate": grpc.unary_unary_rpc_method_handler(_passing_on(self._plugin.allocate)),
            "PreStartContainer": grpc.unary_unary_rpc_method_handler(_passing_on(self._plugin.pre_start)),
        }
        await _listen(self._server, PLUGIN_SERVICE, methods, socket)

    async def stop(self) -> None:
        """End all calls and remove the socket."""
        await self._server.stop(None)

    def offered(self, options: DevicePluginOptions) -> DevicePluginOptions:
        """What is announced to the kubelet in place of the plugin's own options."""
        self._plugin_prefers = options.get_preferred_allocation_available
        announced = DevicePluginOptions()
        announced.CopyFrom(options)
        if self._advise is not None:
            announced.get_preferred_allocation_available = True
        return announced

    async def _get_options(self, request: bytes, context: Any) -> bytes:
        options = await _pass_on(self._plugin.get_options, request, context)
        return self.offered(DevicePluginOptions.FromString(options)).SerializeToString()

    async def _list_and_watch(self, _request: bytes, _context: Any) -> AsyncIterator[bytes]:
        # Closed at once when the kubelet leaves, so that it is seen to have left.
        async with aclosing(self._feed.watch()) as told:
            async for devices in told:
                yield devices

    async def _get_preferred_allocation(self, request: bytes, context: Any) -> bytes:
        chosen = await self._advice(request)
        if chosen is not None:
            answers = [ContainerPreferredAllocationResponse(deviceIDs=devices) for devices in chosen]
            return PreferredAllocationResponse(container_responses=answers).SerializeToString()
        if not self._plugin_prefers:
            return NOTHING  # no preference: the kubelet takes any
        return await _pass_on(self._plugin.prefer, request, context)

    async def _advice(self, request: bytes) -> Sequence[Sequence[str]] | None:
        if self._advise is None:
            return None
        asked = PreferredAllocationRequest.FromString(request).container_requests
        try:
            return await self._advise(
                [
                    Question(tuple(each.available_deviceIDs), tuple(each.must_include_deviceIDs), each.allocation_size)
                    for each in asked
                ]
            )
        except Exception:  # noqa: BLE001  any error would fail the pod for good, where the plugin's choice lets it run
            _log.exception("choosing GPUs failed; the plugin is asked instead")
            return None


class RegistrationServer:
    """Where plugins register, as they would at the kubelet."""

    def __init__(self, register: Callable[[RegisterRequest], Awaitable[None]]) -> None:
        """Serve.

        Args:
            register: takes a plugin; raises `SourceError` where it cannot be served, or the kubelet does not want it.
        """
        self._register = register
        self._server = grpc.aio.server(options=_ANSWER_LIMIT)

    async def start(self, socket: Path) -> None:
        """Listen on a socket of this name; one that is there already is replaced.

        Raises:
            SourceError: that cannot be: its folder cannot be written, or its path is too long.
        """
        methods = {"Register": grpc.unary_unary_rpc_method_handler(self._serve)}
        await _listen(self._server, REGISTRATION_SERVICE, methods, socket)

    async def stop(self) -> None:
        """End all calls and remove the socket."""
        await self._server.stop(None)

    async def _serve(self, request: bytes, context: Any) -> bytes:
        try:
            await self._register(RegisterRequest.FromString(request))
        except SourceError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return NOTHING


async def _listen(server: grpc.aio.Server, service: str, methods: dict[str, Any], socket: Path) -> None:
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError as error:
        raise SourceError(f"nothing can listen on {socket}: {error}") from error
    await server.start()


def _passing_on(call: _Call) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def handle(request: bytes, context: Any) -> bytes:
        return await _pass_on(call, request, context)

    return handle


async def _pass_on(call: _Call, request: bytes, context: Any) -> bytes:
    """The plugin's answer, or its error; within the time that the kubelet gives."""
    try:
        return await call(request, timeout=context.time_remaining())
    except grpc.aio.AioRpcError as error:
        await context.abort(error.code(), error.details() or "")
        raise  # never reached: `abort` raises, to end the call
