"""The adapter to the API server, against a real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from gpu_topology.errors import SettingsError
from kubernetes_api import ApiError, Cluster, NotFoundError, Reflector, Resource
from tests.control_plane.client import Client
from tests.control_plane.cluster import ADMIN, ControlPlane
from tests.control_plane.objects import node, pod

pytestmark = pytest.mark.usefixtures("kubernetes_client")

SOON = 30.0
"""Seconds within which everything here must have happened, on a busy machine too."""


class Mirror:
    """A handler that holds the objects it was told of and wakes whoever waits for a change."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.told = asyncio.Event()

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        self.objects = {obj["metadata"]["name"]: obj for obj in objects}
        self.told.set()

    def changed(self, obj: dict[str, Any]) -> None:
        self.objects[obj["metadata"]["name"]] = obj
        self.told.set()

    def deleted(self, obj: dict[str, Any]) -> None:
        self.objects.pop(obj["metadata"]["name"], None)
        self.told.set()

    async def until_told(self) -> None:
        async with asyncio.timeout(SOON):
            await self.told.wait()

    async def until_names_are(self, *names: str) -> None:
        async with asyncio.timeout(SOON):
            while set(self.objects) != set(names):
                self.told.clear()
                await self.told.wait()


@asynccontextmanager
async def reflected(
    control_plane: ControlPlane, resource: Resource, user: str = ADMIN, **options: Any
) -> AsyncIterator[tuple[Mirror, Reflector]]:
    """A mirror that a reflector keeps up to date while the block runs."""
    mirror = Mirror()
    async with await Cluster.connect(control_plane.kubeconfig(user)) as cluster:
        reflector = Reflector(cluster, resource, mirror, **options)
        task = asyncio.create_task(reflector.run())
        try:
            yield mirror, reflector
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_reflector_tells_what_exists_and_what_changes(control_plane: ControlPlane) -> None:
    """First the list, then each addition, change and deletion."""
    client = control_plane.client
    client.create(node("before"))
    async with reflected(control_plane, Resource.NODES) as (mirror, reflector):
        await mirror.until_names_are("before")
        assert reflector.synced
        client.create(node("after"))
        await mirror.until_names_are("before", "after")
        client.delete("Node", "before")
        await mirror.until_names_are("after")
        assert reflector.lists == 1


async def test_who_has_listed_already_is_told_of_later_changes_alone(control_plane: ControlPlane) -> None:
    """Nothing is listed twice."""
    control_plane.client.create(node("before"))
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        async for _, listed in cluster.pages(Resource.NODES):
            version = listed
    async with reflected(control_plane, Resource.NODES, since=version) as (mirror, reflector):
        control_plane.client.create(node("after"))
        await mirror.until_names_are("after")
        assert (reflector.synced, reflector.lists) == (True, 0)


async def test_a_field_selector_keeps_others_out(control_plane: ControlPlane) -> None:
    """Only pods that are bound are of interest to the books."""
    control_plane.client.create(pod("pending"))
    bound = pod("bound")
    bound["spec"]["nodeName"] = "somewhere"
    control_plane.client.create(bound)
    async with reflected(control_plane, Resource.PODS, field_selector="spec.nodeName!=") as (mirror, _):
        await mirror.until_names_are("bound")


async def test_objects_are_trimmed_before_they_are_handed_on(control_plane: ControlPlane) -> None:
    """So that a long list fits into memory."""
    control_plane.client.create(node("slim"))

    def only_name(obj: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {"name": obj["metadata"]["name"]}}

    async with reflected(control_plane, Resource.NODES, trim=only_name) as (mirror, _):
        await mirror.until_names_are("slim")
        assert mirror.objects["slim"] == {"metadata": {"name": "slim"}}


class Absent(Enum):
    """What an older API server, or one where it is switched off, does not have."""

    GADGETS = "/apis/gadgets.example/v1/gadgets"


async def test_a_resource_that_the_api_server_does_not_have_counts_as_empty(control_plane: ControlPlane) -> None:
    """Where it may be missing."""
    absent: Any = Absent.GADGETS
    async with reflected(control_plane, absent, is_optional=True) as (mirror, reflector):
        await mirror.until_told()
        assert (mirror.objects, reflector.synced, reflector.lists, reflector.failures) == ({}, True, 0, 0)


async def test_a_resource_that_may_be_missing_is_looked_for_again(
    control_plane: ControlPlane, kubernetes_client: Client
) -> None:
    """One that may not be seen counts as missing too: here until somebody grants the right."""
    rbac, user = "rbac.authorization.k8s.io/v1", "not-yet-granted"
    role = {"name": user, "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    kubernetes_client.create(
        {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpus"}, "spec": {}}
    )
    options = {"is_optional": True, "absent_seconds": 0.1}
    try:
        async with reflected(control_plane, Resource.DEVICE_CLASSES, user, **options) as (mirror, reflector):
            await mirror.until_told()
            assert reflector.synced
            rules = [{"apiGroups": ["resource.k8s.io"], "resources": ["deviceclasses"], "verbs": ["list", "watch"]}]
            kubernetes_client.create(
                {"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}
            )
            kubernetes_client.create(
                {
                    "apiVersion": rbac,
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": user},
                    "roleRef": role,
                    "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
                }
            )
            await mirror.until_names_are("gpus")
    finally:
        kubernetes_client.delete("DeviceClass", "gpus", api_version="resource.k8s.io/v1")


async def test_a_patch_changes_only_the_annotations_that_it_names(control_plane: ControlPlane) -> None:
    """Others keep theirs; None removes one."""
    control_plane.client.create(node("n", annotations={"theirs": "1", "old": "1"}))
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        await cluster.patch_node("n", annotations={"ours": "2", "old": None})
        assert (await cluster.get_node("n"))["metadata"]["annotations"] == {"theirs": "1", "ours": "2"}


async def test_a_missing_node_is_not_found(control_plane: ControlPlane) -> None:
    """With the API server's own sentence."""
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        with pytest.raises(NotFoundError, match='"ghost" not found'):
            await cluster.patch_node("ghost", annotations={"a": "b"})


async def test_a_refused_request_says_why(control_plane: ControlPlane) -> None:
    """A user without rights learns what is missing."""
    async with await Cluster.connect(control_plane.kubeconfig("nobody")) as cluster:
        with pytest.raises(ApiError, match="cannot get resource") as caught:
            await cluster.get_node("n")
    assert caught.value.status == 403


async def test_a_reflector_survives_the_api_servers_death(tmp_path: Path) -> None:
    """Killed and started again, it goes on with what happened meanwhile."""
    with ControlPlane(tmp_path) as control_plane:
        control_plane.client.create(node("before"))
        async with reflected(control_plane, Resource.NODES) as (mirror, reflector):
            await mirror.until_names_are("before")
            control_plane.apiserver.kill()
            await asyncio.to_thread(control_plane.apiserver.start)
            control_plane.client.create(node("after"))
            await mirror.until_names_are("before", "after")
            assert reflector.failures > 0


async def test_missing_credentials_are_a_settings_error(tmp_path: Path) -> None:
    """One sentence, not a stack trace from the client library."""
    with pytest.raises(SettingsError, match="no usable credentials"):
        await Cluster.connect(tmp_path / "absent")
