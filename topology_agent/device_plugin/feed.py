"""A plugin's list of devices, asked for once and told to everyone who watches."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable


class DeviceFeed:
    """Hands on what a plugin tells of its devices.

    The plugin is watched once, however often the kubelet begins anew: NVIDIA's tells every change of health to one
    watcher only, and may choose one that has left (k8s-device-plugin v0.18, `ListAndWatch`).
    """

    def __init__(self) -> None:
        self._latest: bytes | None = None
        self._ended = False
        self._watchers: set[asyncio.Queue[bytes | None]] = set()

    @property
    def watched(self) -> bool:
        """Whether anybody watches at present."""
        return bool(self._watchers)

    async def follow(self, devices: AsyncIterable[bytes]) -> None:
        """Hand on until there is nothing more to come."""
        try:
            async for answer in devices:
                self._latest = answer
                self._tell(answer)
        finally:
            self._ended = True
            self._tell(None)

    async def watch(self) -> AsyncGenerator[bytes]:
        """The devices as they are and whenever they change, until the plugin has gone."""
        told: asyncio.Queue[bytes | None] = asyncio.Queue()
        if self._latest is not None:
            told.put_nowait(self._latest)
        if self._ended:
            return
        self._watchers.add(told)
        try:
            while (answer := await told.get()) is not None:
                yield answer
        finally:
            self._watchers.discard(told)

    def _tell(self, answer: bytes | None) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(answer)
