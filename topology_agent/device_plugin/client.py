"""Calls to the plugin and to the kubelet. What is passed on stays the bytes that it came as."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import structlog

from gpu_topology.errors import SourceError
from topology_agent.device_plugin.deviceplugin_pb2 import RegisterRequest

PLUGIN_SERVICE: Final = "v1beta1.DevicePlugin"
REGISTRATION_SERVICE: Final = "v1beta1.Registration"
REGISTER_SECONDS: Final = 15.0
"""For a registration: the kubelet tries for ten seconds to reach the plugin before it answers."""
MOST_BYTES: Final = 16 * 2**20
"""Of one message: far more than the devices of a node that is shared by many replicas."""
NOTHING: Final = b""
"""A message without fields, or with all of them at their defaults."""

_AWAY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})

_log = structlog.get_logger(__name__)


class RefusedError(SourceError):
    """The kubelet does not want this plugin: it would have said the same to the plugin itself."""


class PluginClient:
    """A device plugin, reached through its own socket. Make it inside a running event loop, and close it.

    Attributes:
        get_options: calls with bytes in and bytes out, as the API names them.
        prefer: GetPreferredAllocation.
        allocate: Allocate.
        pre_start: PreStartContainer.
    """

    def __init__(self, socket: Path) -> None:
        self._channel = _open(socket)
        self.get_options = self._unary("GetDevicePluginOptions")
        self.prefer = self._unary("GetPreferredAllocation")
        self.allocate = self._unary("Allocate")
        self.pre_start = self._unary("PreStartContainer")
        self._list_and_watch = self._channel.unary_stream(f"/{PLUGIN_SERVICE}/ListAndWatch", bytes, bytes)

    async def devices(self) -> AsyncIterator[bytes]:
        """The plugin's devices, whenever they change, until it has gone."""
        try:
            async for answer in self._list_and_watch(NOTHING):
                yield answer
        except grpc.aio.AioRpcError as error:
            _log.info("the plugin's devices are no longer told", code=error.code().name, details=error.details())

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close(None)

    def _unary(self, method: str) -> Any:
        return self._channel.unary_unary(f"/{PLUGIN_SERVICE}/{method}", bytes, bytes)


async def register(kubelet_socket: Path, request: RegisterRequest) -> None:
    """Register a plugin at the kubelet, which calls it back before this returns.

    Raises:
        SourceError: the kubelet is away.
        RefusedError: it answers, but does not want the plugin.
    """
    channel = _open(kubelet_socket)
    call = channel.unary_unary(f"/{REGISTRATION_SERVICE}/Register", RegisterRequest.SerializeToString, bytes)
    try:
        await call(request, timeout=REGISTER_SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.code() in _AWAY:
            raise SourceError(f"the kubelet is away: {error.details()}") from error
        raise RefusedError(f"the kubelet does not take {request.resource_name}: {error.details()}") from error
    finally:
        await channel.close(None)


def _open(socket: Path) -> grpc.aio.Channel:
    options = [
        ("grpc.max_receive_message_length", MOST_BYTES),
        ("grpc.default_authority", "localhost"),
        # A connection of our own: a shared one might lead to a socket of the same name that was there before.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.insecure_channel(f"unix:{socket}", options=options)
