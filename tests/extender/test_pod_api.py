"""What binding counts on in an API server: a real one keeps to it, and so does the fake."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from extender.bind import PodApi
from kubernetes_api import Cluster, ConflictError, NotFoundError
from tests.control_plane import objects
from tests.extender.fake_pod_api import FakePodApi

SECONDS = 10.0
RECORD = {"gpu-scheduler/assigned": "a record"}


@dataclass
class Server:
    """An API server that has one pod, `default/trainer`."""

    api: PodApi
    uid: str

    async def bind(self, name: str = "trainer", node: str = "n", *, uid: str | None = None) -> None:
        await self.api.bind_pod("default", name, uid=uid or self.uid, node=node, annotations=RECORD, seconds=SECONDS)

    async def pod(self) -> dict[str, Any]:
        return await self.api.get_pod("default", "trainer")


@pytest.fixture(params=["real", "fake"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    wanted = objects.pod("trainer", gpus=2, annotations={"team": "research"})
    if request.param == "fake":
        wanted["metadata"]["uid"] = "uid-of-trainer"
        yield Server(FakePodApi(wanted | {"status": {"phase": "Pending"}}), "uid-of-trainer")
        return
    request.getfixturevalue("kubernetes_client")
    control_plane = request.getfixturevalue("control_plane")
    created = control_plane.client.create(wanted)
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        yield Server(cluster, created["metadata"]["uid"])


async def test_a_binding_gives_the_node_and_the_record_in_one_write(server: Server) -> None:
    """What stood on the pod before stays."""
    await server.bind()
    pod = await server.pod()
    assert pod["spec"]["nodeName"] == "n"
    assert pod["metadata"]["annotations"] == {"team": "research"} | RECORD
    assert [condition["type"] for condition in pod["status"]["conditions"]] == ["PodScheduled"]


@pytest.mark.parametrize("node", ["n", "other"])
async def test_a_second_binding_is_a_conflict(server: Server, node: str) -> None:
    """To the same node too."""
    await server.bind()
    with pytest.raises(ConflictError):
        await server.bind(node=node)
    assert (await server.pod())["spec"]["nodeName"] == "n"


async def test_a_binding_of_another_pod_of_the_name_is_a_conflict(server: Server) -> None:
    """It was deleted and created anew."""
    with pytest.raises(ConflictError):
        await server.bind(uid="another")
    assert "nodeName" not in (await server.pod())["spec"]


async def test_a_pod_that_is_not_there_is_said_to_be_so(server: Server) -> None:
    """Both to look up and to bind."""
    with pytest.raises(NotFoundError):
        await server.bind("absent")
    with pytest.raises(NotFoundError):
        await server.api.get_pod("default", "absent")
