"""An API server in memory: nodes and pods, with lists, watches and patches, and failures on demand."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Self

from kubernetes_api import ApiError, NodeEvent, NotFoundError, PodReference, Resource


def node(
    name: str,
    annotations: Mapping[str, str] | None = None,
    uid: str = "",
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    metadata = {"name": name, "uid": uid or f"uid-{name}"}
    return {"metadata": {**metadata, "annotations": dict(annotations or {}), "labels": dict(labels or {})}}


def pod(  # noqa: PLR0913  each of them is named by the caller
    name: str,
    gpus: int,
    node_name: str = "n",
    *,
    phase: str = "Running",
    init_gpus: int = 0,
    bound_at: str = "2026-01-01T00:00:00Z",
) -> dict[str, Any]:
    def container(title: str, count: int) -> dict[str, Any]:
        return {"name": title, "resources": {"requests": {"nvidia.com/gpu": str(count)}}}

    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": node_name,
            "initContainers": [container("init", init_gpus)] if init_gpus else [],
            "containers": [container("main", gpus)],
        },
        "status": {"phase": phase, "conditions": [{"type": "PodScheduled", "lastTransitionTime": bound_at}]},
    }


class FakeCluster:
    """What the agent uses of `kubernetes_api.Cluster`.

    Attributes:
        patches: every patch that was asked for, the failed ones included.
        label_patches: the labels of every patch that had any.
        events: every event that was created, in order.
        renewals: namespace and name of every lease that was renewed, in order.
        patched: notified of every patch, event and renewal.
        failures: raised by the next requests about single nodes, one each.
        list_failures: raised by the next lists, one each.
    """

    def __init__(self, *nodes: dict[str, Any], pods: list[dict[str, Any]] | None = None) -> None:
        self._objects = {
            Resource.NODES: {node["metadata"]["name"]: node for node in nodes},
            Resource.PODS: {pod["metadata"]["uid"]: pod for pod in pods or []},
        }
        self._version = 1
        self._watches: dict[Resource, list[asyncio.Queue[dict[str, Any]]]] = {resource: [] for resource in Resource}
        self.patches: list[tuple[str, dict[str, str | None]]] = []
        self.label_patches: list[dict[str, str | None]] = []
        self.events: list[NodeEvent] = []
        self.renewals: list[tuple[str, str]] = []
        self.failures: list[ApiError] = []
        self.list_failures: list[ApiError] = []
        self.patched = asyncio.Condition()

    async def get_node(self, name: str) -> dict[str, Any]:
        self._fail()
        if name not in self._objects[Resource.NODES]:
            raise NotFoundError(f'nodes "{name}" not found', 404)
        return self._objects[Resource.NODES][name]

    async def patch_node(
        self, name: str, *, annotations: Mapping[str, str | None], labels: Mapping[str, str | None] | None = None
    ) -> None:
        self.patches.append((name, dict(annotations)))
        if labels:
            self.label_patches.append(dict(labels))
        present = (await self.get_node(name))["metadata"]
        kept = _merged(present["annotations"], annotations)
        self.put(Resource.NODES, node(name, kept, present["uid"], _merged(present["labels"], labels or {})))
        await self._notify()

    async def create_event(self, about: str | PodReference, event: NodeEvent) -> None:
        await self.get_node(str(about))
        self.events.append(event)
        await self._notify()

    async def renew_lease(self, namespace: str, node: str, duration_seconds: int) -> None:
        assert duration_seconds > 0
        await self.get_node(node)
        self.renewals.append((namespace, node))
        await self._notify()

    def put(self, resource: Resource, obj: dict[str, Any]) -> None:
        """Create or change an object."""
        self._objects[resource][_key(resource, obj)] = obj
        self._tell(resource, "MODIFIED", obj)

    def delete(self, resource: Resource, obj: dict[str, Any]) -> None:
        del self._objects[resource][_key(resource, obj)]
        self._tell(resource, "DELETED", obj)

    def annotations(self, name: str) -> dict[str, str]:
        annotations: dict[str, str] = self._objects[Resource.NODES][name]["metadata"]["annotations"]
        return annotations

    def labels(self, name: str) -> dict[str, str]:
        labels: dict[str, str] = self._objects[Resource.NODES][name]["metadata"]["labels"]
        return labels

    async def pages(
        self, resource: Resource, *, field_selector: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        del field_selector  # a fake cluster holds only what the test is about
        if self.list_failures:
            raise self.list_failures.pop(0)
        yield list(self._objects[resource].values()), str(self._version)

    async def watch(
        self, resource: Resource, resource_version: str, *, field_selector: str = ""
    ) -> AsyncGenerator[dict[str, Any]]:
        del resource_version, field_selector
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._watches[resource].append(events)
        while True:
            yield await events.get()

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def _notify(self) -> None:
        async with self.patched:
            self.patched.notify_all()

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)

    def _tell(self, resource: Resource, kind: str, obj: dict[str, Any]) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        for watch in self._watches[resource]:
            watch.put_nowait({"type": kind, "object": obj})


def _merged(present: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return {key: text for key, text in {**present, **changes}.items() if text is not None}


def _key(resource: Resource, obj: dict[str, Any]) -> str:
    key: str = obj["metadata"]["name" if resource is Resource.NODES else "uid"]
    return key
