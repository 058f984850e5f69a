"""One plugin's way through us to the kubelet."""

import asyncio
from pathlib import Path
from typing import Final

import structlog

from gpu_topology.errors import SourceError
from topology_agent.device_plugin.client import PluginClient, RefusedError, register
from topology_agent.device_plugin.deviceplugin_pb2 import RegisterRequest
from topology_agent.device_plugin.feed import DeviceFeed
from topology_agent.device_plugin.server import Advise, PluginServer

KUBELET_SOCKET_NAME: Final = "kubelet.sock"
ENDPOINT_PREFIX: Final = "gpu-topology-"
"""Of the sockets that stand for plugins, before the plugin's own name."""

_log = structlog.get_logger(__name__)


class Relay:
    """A plugin that has registered here, for as long as it lives.

    Attributes:
        resource: what it offers, such as "nvidia.com/gpu".
    """

    def __init__(self, folder: Path, asked: RegisterRequest, advise: Advise | None, *, check_seconds: float) -> None:
        """Prepare; nothing is sent yet.

        Args:
            folder: of the kubelet's and the plugins' sockets.
            asked: the plugin's registration.
            advise: which devices to prefer; None to leave it to the plugin.
            check_seconds: between two looks at whether the kubelet still watches.
        """
        self.resource: str = asked.resource_name
        self._folder = folder
        self._endpoint = ENDPOINT_PREFIX + Path(asked.endpoint).name
        self._check_seconds = check_seconds
        self._plugin = PluginClient(folder / asked.endpoint)
        self._feed = DeviceFeed()
        self._server = PluginServer(self._plugin, self._feed, advise)
        self._registration = self._registration_of(asked)
        self._task: asyncio.Task[None] | None = None

    @property
    def serving(self) -> bool:
        """Whether the kubelet watches the plugin through us."""
        return self._feed.watched

    async def open(self) -> None:
        """Serve the plugin under our name, and see to it that the kubelet knows.

        Raises:
            RefusedError: the kubelet does not want the plugin. Where it is merely away, it is tried again later.
            SourceError: nothing can be served in the folder.
        """
        await self._server.start(self._folder / self._endpoint)
        self._task = asyncio.create_task(self._run())
        try:
            await register(self._folder / KUBELET_SOCKET_NAME, self._registration)
        except RefusedError:
            await self.close()
            raise
        except SourceError as error:
            _log.warning("the plugin waits for the kubelet", resource=self.resource, error=str(error))
        else:
            _log.info("the plugin is registered at the kubelet", resource=self.resource, endpoint=self._endpoint)

    async def close(self) -> None:
        """Leave: for the kubelet it is as if the plugin had gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        registering = asyncio.create_task(self._stay_registered())
        try:
            await self._feed.follow(self._plugin.devices())
            _log.info("the plugin has gone", resource=self.resource)
        finally:
            registering.cancel()
            await self._server.stop()
            await self._plugin.close()

    async def _stay_registered(self) -> None:
        """Register again whenever the kubelet does not watch, as long as it may come back.

        Besides being away, a kubelet drops a plugin that has registered anew before it has noticed that the plugin's
        former connection ended: it then ends the new one (Kubernetes v1.36, devicemanager/plugin, `runClient`).
        """
        while True:
            await asyncio.sleep(self._check_seconds)
            if self._feed.watched:
                continue
            try:
                await register(self._folder / KUBELET_SOCKET_NAME, self._registration)
            except SourceError as error:
                _log.warning("the plugin cannot be registered yet", resource=self.resource, error=str(error))
            else:
                _log.info("the plugin is registered at the kubelet again", resource=self.resource)

    def _registration_of(self, asked: RegisterRequest) -> RegisterRequest:
        registration = RegisterRequest()
        registration.CopyFrom(asked)
        registration.endpoint = self._endpoint
        registration.options.CopyFrom(self._server.offered(asked.options))
        return registration
