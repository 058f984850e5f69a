"""What a watch survives, against a real API server: broken connections, expired versions, a server that is killed.

Connections are broken by a proxy in between, which passes the encrypted bytes on and can hang up.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from kubernetes_api import Cluster, Reflector, Resource, Restart
from kubernetes_api import cluster as cluster_module
from kubernetes_api.errors import ExpiredError
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import node, pod
from tests.control_plane.ports import LOOPBACK
from tests.kubernetes_api.test_cluster import SOON, Mirror

pytestmark = pytest.mark.usefixtures("kubernetes_client")


class Proxy:
    """Passes connections on to an API server. Knows nothing of what goes through.

    Attributes:
        accepts: whether new connections are let through, or hung up on at once.
    """

    def __init__(self, server: str) -> None:
        self._target = urlsplit(server)
        self._writers: set[asyncio.StreamWriter] = set()
        self.accepts = True

    async def start(self) -> str:
        """Listen. Returns the URL."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"https://{LOOPBACK}:{port}"

    async def stop(self) -> None:
        """Hang up and listen no more."""
        self._server.close()
        self.hang_up()
        await self._server.wait_closed()

    def hang_up(self) -> None:
        """Break all connections, without a word."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepts:
            writer.transport.abort()
            return
        to_server = await asyncio.open_connection(self._target.hostname, self._target.port)
        writers = {writer, to_server[1]}
        self._writers |= writers
        with suppress(ConnectionError):
            await asyncio.wait(
                [asyncio.create_task(_pump(reader, to_server[1])), asyncio.create_task(_pump(to_server[0], writer))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        for each in writers:
            each.transport.abort()
        self._writers -= writers


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Counting(Mirror):
    """A mirror that knows how often it was told of each object."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[str] = []

    def changed(self, obj: dict[str, Any]) -> None:
        self.changes.append(obj["metadata"]["name"])
        super().changed(obj)


@asynccontextmanager
async def through_a_proxy(
    control_plane: ControlPlane, tmp_path: Path
) -> AsyncIterator[tuple[Proxy, Counting, Reflector]]:
    """A mirror of the nodes, whose connections can be broken."""
    proxy = Proxy(control_plane.server)
    kubeconfig = yaml.safe_load(control_plane.kubeconfig().read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = await proxy.start()
    path = tmp_path / "through-the-proxy.kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    mirror = Counting()
    async with await Cluster.connect(path) as cluster:
        reflector = Reflector(cluster, Resource.NODES, mirror)
        task = asyncio.create_task(reflector.run())
        try:
            yield proxy, mirror, reflector
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await proxy.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again until something is so."""

    async def look() -> bool:
        return condition()

    looking = AsyncRetrying(
        retry=retry_if_result(lambda met: not met), stop=stop_after_delay(SOON), wait=wait_fixed(0.02)
    )
    await looking(look)


async def test_a_broken_watch_is_resumed_without_a_new_list_and_misses_nothing(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """What happens while there is no connection comes afterwards, each change once."""
    client = control_plane.client
    client.create(node("kept"))
    client.create(node("leaves"))
    async with through_a_proxy(control_plane, tmp_path) as (proxy, mirror, reflector):
        await mirror.until_names_are("kept", "leaves")
        client.create(node("seen"))
        await mirror.until_names_are("kept", "leaves", "seen")
        proxy.accepts = False
        proxy.hang_up()
        await until(lambda: reflector.failures >= 2)  # the watch that broke, and one that was not let through
        client.create(node("missed"))
        client.delete("Node", "leaves")
        proxy.accepts = True
        await mirror.until_names_are("kept", "seen", "missed")
    assert reflector.lists == 1
    assert mirror.changes == ["seen", "missed"]
    assert reflector.restarts[Restart.BROKEN] == 1
    assert reflector.restarts[Restart.FAILED] >= 1
    assert not reflector.restarts[Restart.EXPIRED]


async def test_after_an_expired_version_everything_is_listed_again(tmp_path: Path) -> None:
    """And what was deleted meanwhile is gone: no event tells of that any more.

    An API server that was restarted keeps nothing from before: it says 410 in the stream.
    """
    with ControlPlane(tmp_path / "control-plane") as control_plane:
        client = control_plane.client
        client.create(node("kept"))
        client.create(node("leaves"))
        async with through_a_proxy(control_plane, tmp_path) as (proxy, mirror, reflector):
            await mirror.until_names_are("kept", "leaves")
            proxy.accepts = False
            proxy.hang_up()
            await until(lambda: reflector.failures >= 1)
            seen = reflector._version
            assert seen is not None
            client.delete("Node", "leaves")
            control_plane.apiserver.kill()
            await asyncio.to_thread(control_plane.apiserver.start)
            with pytest.raises(ExpiredError, match="too old resource version"):
                await first_change(control_plane, seen)
            proxy.accepts = True
            await mirror.until_names_are("kept")
            assert (reflector.lists, reflector.restarts[Restart.EXPIRED]) == (2, 1)
            await asyncio.to_thread(client.create, node("after"))
            await mirror.until_names_are("kept", "after")


async def first_change(control_plane: ControlPlane, version: str) -> None:
    """Watch the nodes from a version until something comes."""
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster, asyncio.timeout(SOON):
        async for _ in cluster.watch(Resource.NODES, version):
            return


async def test_a_bookmark_moves_the_version_on_from_which_a_watch_is_resumed(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pods come that the watch is not about; without bookmarks its version would grow older than the server keeps.

    An API server sends one each minute, and one shortly before it ends a watch: here after some seconds.
    """
    monkeypatch.setattr(cluster_module, "WATCH_SECONDS", 6)
    mirror = Counting()
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        reflector = Reflector(cluster, Resource.PODS, mirror, field_selector="spec.nodeName!=")
        task = asyncio.create_task(reflector.run())
        await until(lambda: reflector.synced)
        pending = control_plane.client.create(pod("pending"))
        newest = int(pending["metadata"]["resourceVersion"])
        await until(lambda: int(reflector._version or "0") >= newest)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert (reflector.lists, reflector.failures, mirror.changes) == (1, 0, [])
