"""Takes the kubelet's place for the device plugins of a node, and follows it through its restarts."""

import asyncio
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from gpu_topology.errors import SourceError
from gpu_topology.request import GPU_RESOURCE
from topology_agent.device_plugin.deviceplugin_pb2 import RegisterRequest
from topology_agent.device_plugin.relay import KUBELET_SOCKET_NAME, Relay
from topology_agent.device_plugin.server import Advise, RegistrationServer

DEFAULT_FOLDER: Final = Path("/var/lib/kubelet/device-plugins")
REGISTRATION_SOCKET_NAME: Final = "gpu-topology.sock"
"""Where plugins register: their KUBELET_SOCKET, in the folder of the kubelet's own."""
CHECK_SECONDS: Final = 1.0
"""Between two looks at the folder: a kubelet that restarts is away for some two seconds."""

RETRY_SECONDS: Final = 10.0
"""Until it is tried again to serve in a folder where that was not possible: somebody has to see to it."""

_Identity: TypeAlias = tuple[int, int, int]
"""Device, inode and time of the last change."""

_log = structlog.get_logger(__name__)


class Proxy:
    """The kubelet's stand-in for device plugins.

    A kubelet that starts removes all sockets from its folder, and plugins notice a new kubelet by its socket. So
    whenever the kubelet's socket is another one than before, everything begins anew: our own socket is made again,
    which tells the plugins to register again.
    """

    def __init__(self, folder: Path, advise: Advise, *, check_seconds: float = CHECK_SECONDS) -> None:
        """Prepare; nothing is served yet.

        Args:
            folder: of the kubelet's and the plugins' sockets.
            advise: which GPUs to prefer.
            check_seconds: between two looks at the folder, and at each plugin's registration.
        """
        self._folder = folder
        self._advise = advise
        self._check_seconds = check_seconds
        self._relays: dict[str, Relay] = {}
        self._registering = asyncio.Lock()

    @property
    def enforcing(self) -> bool:
        """Whether the kubelet's choice of GPUs goes through here."""
        relay = self._relays.get(GPU_RESOURCE)
        return relay is not None and relay.serving

    async def run(self) -> None:
        """Serve until cancelled, whenever there is a kubelet."""
        while True:
            kubelet = self._identity(KUBELET_SOCKET_NAME)
            if kubelet is None:
                await asyncio.sleep(self._check_seconds)
            else:
                await self._try_to_serve(kubelet)

    async def _try_to_serve(self, kubelet: _Identity) -> None:
        try:
            await self._serve(kubelet)
        except SourceError as error:
            _log.error("plugins cannot register, trying again", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _serve(self, kubelet: _Identity) -> None:
        """Serve for as long as this kubelet is there, and our socket."""
        server = RegistrationServer(self._register)
        try:
            await server.start(self._folder / REGISTRATION_SOCKET_NAME)
            expected = kubelet, self._identity(REGISTRATION_SOCKET_NAME)
            _log.info("plugins can register", socket=REGISTRATION_SOCKET_NAME, folder=str(self._folder))
            while self._identities() == expected:  # noqa: ASYNC110  a folder has no events to wait for
                await asyncio.sleep(self._check_seconds)
            _log.info("the kubelet has restarted or its folder was emptied; waiting for the plugins to register again")
        finally:
            await server.stop()
            while self._relays:
                _, relay = self._relays.popitem()
                await relay.close()

    async def _register(self, asked: RegisterRequest) -> None:
        """Take a plugin; one that offered the same before is replaced, as the kubelet does it."""
        async with self._registering:
            former = self._relays.pop(asked.resource_name, None)
            if former is not None:
                await former.close()
            # Parts of GPUs and shared GPUs under another name are the plugin's own business.
            advise = self._advise if asked.resource_name == GPU_RESOURCE else None
            relay = Relay(self._folder, asked, advise, check_seconds=self._check_seconds)
            self._relays[asked.resource_name] = relay
            await relay.open()

    def _identities(self) -> tuple[_Identity | None, ...]:
        return self._identity(KUBELET_SOCKET_NAME), self._identity(REGISTRATION_SOCKET_NAME)

    def _identity(self, name: str) -> _Identity | None:
        """Tells a socket from a later one of the same name; None where there is none."""
        try:
            status = (self._folder / name).stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino, status.st_ctime_ns
