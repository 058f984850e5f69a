"""A connection to the API server: credentials, requests, lists, watches and patches."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import aiohttp
import orjson
from kubernetes.aio.client.api_client import ApiClient

from gpu_topology.errors import SettingsError
from kubernetes_api.answers import check, error_of, lines_of, parsed
from kubernetes_api.created import (
    NodeEvent,
    PodEvent,
    PodReference,
    event_series,
    lease_renewal,
    new_binding,
    new_event,
    new_eviction,
    new_lease,
    new_pod_event,
)
from kubernetes_api.credentials import kubectl_credentials, process_credentials
from kubernetes_api.environment import settle_environment
from kubernetes_api.errors import ApiError, NotFoundError
from kubernetes_api.leases import Lease, lease_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from pathlib import Path

    from kubernetes.aio.client.configuration import Configuration

REQUEST_SECONDS: Final = 15.0
"""How long one request may take. A healthy API server answers a list of 500 objects in well under a second."""
WATCH_SECONDS: Final = 180
"""After how long the API server ends a watch by itself, so that load spreads again over its replicas."""
SILENCE_SECONDS: Final = WATCH_SECONDS + 15.0
"""A watch that outlives its end in silence is dead. Bookmarks do not prove life: where nothing changes, an API server
sends none (seen for 90 s with v1.36.3)."""
GOODBYE_SECONDS: Final = 0.25
"""How long the end of connections may take whose request was given up before its answer came: TLS says goodbye first,
and the loop may end right after us. (The aiohttp documentation, "Graceful Shutdown".)"""
PAGE_SIZE: Final = 500
"""Objects per page of a list: what client-go uses."""

_EVENTS: Final = "/apis/events.k8s.io/v1/namespaces/{namespace}/events"
_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class Resource(Enum):
    """What can be listed and watched, over all namespaces where nothing else is said."""

    NODES = "/api/v1/nodes"
    PODS = "/api/v1/pods"
    DEVICE_CLASSES = "/apis/resource.k8s.io/v1/deviceclasses"
    AGENT_LEASES = "/apis/coordination.k8s.io/v1/namespaces/gpu-topology-agent/leases"
    """In the namespace where the manifests put the agents: each renews one with its node's name."""


class Cluster:
    """An API server and the identity that we have there.

    Use `connect`, and close it, or use it as an asynchronous context manager.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._has_given_up = False

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None) -> Cluster:
        """Read the credentials and make a client; nothing is sent yet.

        Args:
            kubeconfig: the file to use. None: the pod's service account, or outside of a pod the default file.

        Raises:
            SettingsError: there are no credentials, or they cannot be read.
        """
        return cls._with(await process_credentials(kubeconfig))

    @classmethod
    async def connect_as_kubectl(cls, kubeconfig: Path | None = None, context: str | None = None) -> Cluster:
        """The same with the credentials that kubectl would use.

        Args:
            kubeconfig: the file to use. None: those that KUBECONFIG names, or the default file, or the pod's service
                account.
            context: of the file; None: its current one.

        Raises:
            SettingsError: there are no credentials, or they cannot be read.
        """
        return cls._with(await kubectl_credentials(kubeconfig, context))

    @classmethod
    def _with(cls, configuration: Configuration) -> Cluster:
        try:
            settle_environment(configuration)
            return cls(ApiClient(configuration))
        except OSError as error:
            raise SettingsError(f"no usable certificates for the API server: {error}") from error

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self._client.configuration.host)

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()
        if self._has_given_up:
            await asyncio.sleep(GOODBYE_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get_node(self, name: str) -> dict[str, Any]:
        """One node.

        Raises:
            NotFoundError: there is no such node.
            ApiError: the API server refused, or could not be reached.
        """
        return await self._json("GET", f"{Resource.NODES.value}/{name}")

    async def patch_node(
        self, name: str, *, annotations: Mapping[str, str | None], labels: Mapping[str, str | None] | None = None
    ) -> None:
        """Set annotations and labels of a node and leave everything else; None removes a key.

        Raises:
            NotFoundError: there is no such node.
            ApiError: the API server refused, or could not be reached.
        """
        body = {"metadata": {"annotations": dict(annotations), "labels": dict(labels or {})}}
        await self._json("PATCH", f"{Resource.NODES.value}/{name}", body=body)

    async def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        """One pod.

        Raises:
            NotFoundError: there is no such pod.
            ApiError: the API server refused, or could not be reached.
        """
        return await self._json("GET", _pod(namespace, name))

    async def bind_pod(  # noqa: PLR0913  what a Binding has
        self, namespace: str, name: str, *, uid: str, node: str, annotations: Mapping[str, str], seconds: float
    ) -> None:
        """Bind a pod to a node, and annotate it in the same write.

        Args:
            namespace: the pod's.
            name: the pod's.
            uid: the pod's: another one of that name is left alone.
            node: where it is to run. Whether there is such a node is not looked at.
            annotations: set on the pod, beside those that it has.
            seconds: how long that may take.

        Raises:
            NotFoundError: there is no such pod.
            ConflictError: it is another pod by now, is bound already, or is being deleted.
            ApiError: the API server refused, or, where `status` is None, did not answer: then the pod may be bound.
        """
        await self._json(
            "POST", f"{_pod(namespace, name)}/binding", body=new_binding(name, uid, node, annotations), seconds=seconds
        )

    async def evict_pod(self, namespace: str, name: str, *, uid: str) -> None:
        """Have a pod deleted, with its own grace period, if its disruption budgets allow.

        Args:
            namespace: the pod's.
            name: the pod's.
            uid: the pod's: another one of that name is left alone.

        Raises:
            NotFoundError: there is no such pod.
            ConflictError: it is another pod by now.
            DeferredError: a disruption budget forbids it for now.
            ApiError: the API server refused, or, where `status` is None, did not answer: then it may be evicted.
        """
        await self._json("POST", f"{_pod(namespace, name)}/eviction", body=new_eviction(namespace, name, uid))

    async def create_event(self, about: str | PodReference, event: NodeEvent) -> None:
        """Say something about a node, by its name, or about a pod, where `kubectl describe` shows it.

        Raises:
            ApiError: the API server refused, or could not be reached.
        """
        body = new_event(about, event, datetime.now(UTC))
        await self._json("POST", _EVENTS.format(namespace=body["metadata"]["namespace"]), body=body)

    async def create_pod_event(self, event: PodEvent) -> None:
        """Say something about a pod, where `kubectl describe pod` shows it.

        Raises:
            NotFoundError: there is no such namespace.
            ConflictError: it has been said before, by an event of the same name.
            ApiError: the API server refused, or could not be reached.
        """
        await self._json("POST", _events_of(event), body=new_pod_event(event, datetime.now(UTC)))

    async def repeat_pod_event(self, event: PodEvent, count: int) -> None:
        """Say that something has happened again.

        Args:
            event: as it was created.
            count: how often it has happened by now, at least 2.

        Raises:
            NotFoundError: the API server has forgotten the event, as it does after an hour unless told otherwise.
            ApiError: the API server refused, or could not be reached.
        """
        path = f"{_events_of(event)}/{quote(event.name, safe='')}"
        await self._json("PATCH", path, body=event_series(count, datetime.now(UTC)))

    async def get_lease(self, namespace: str, name: str) -> Lease:
        """A lease that somebody else keeps.

        Raises:
            NotFoundError: there is no such lease.
            ApiError: the API server refused, or could not be reached.
        """
        return lease_of(await self._json("GET", f"{_LEASES.format(namespace=namespace)}/{name}"))

    async def renew_lease(self, namespace: str, node: str, duration_seconds: int) -> None:
        """Say in the lease of this node's name that its holder lives; the lease is made where there is none.

        Args:
            namespace: of the lease.
            node: the holder. When the node is deleted, the cluster deletes the lease too.
            duration_seconds: after how long without a renewal the holder counts as gone.

        Raises:
            NotFoundError: there is no such namespace, or no lease and no such node.
            ApiError: the API server refused, or could not be reached.
        """
        leases = _LEASES.format(namespace=namespace)
        try:
            await self._json("PATCH", f"{leases}/{node}", body=lease_renewal(node, duration_seconds, datetime.now(UTC)))
        except NotFoundError:
            owner = await self.get_node(node)
            await self._json("POST", leases, body=new_lease(owner, duration_seconds, datetime.now(UTC)))

    async def pages(
        self, resource: Resource, *, field_selector: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """All objects of a resource, page by page, each with the list's resource version.

        A watch from that version sees every later change. All pages are of the same moment.

        Raises:
            ExpiredError: the pages took so long that the server no longer keeps that moment: start again.
            ApiError: the API server refused, or could not be reached.
        """
        query = {"limit": str(PAGE_SIZE), "fieldSelector": field_selector, "continue": ""}
        while True:
            page = await self._json("GET", resource.value, query=query)
            metadata = page["metadata"]
            yield page.get("items") or [], metadata["resourceVersion"]
            query["continue"] = metadata.get("continue") or ""
            if not query["continue"]:
                return

    async def watch(
        self, resource: Resource, resource_version: str, *, field_selector: str = ""
    ) -> AsyncGenerator[dict[str, Any]]:
        """The changes after a resource version, as `{"type": ..., "object": ...}`, until the server ends the watch.

        Raises:
            ExpiredError: the resource version is no longer kept: list again.
            ApiError: the API server refused, or the connection broke: resume from the last version seen.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
            "fieldSelector": field_selector,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS)
        async with self._request("GET", resource.value, query=query, timeout=timeout) as response:
            try:
                async for line in lines_of(response):
                    event: dict[str, Any] = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise error_of(event["object"].get("code"), event["object"])
                    yield event
            finally:
                _hang_up(response)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        seconds: float = REQUEST_SECONDS,
    ) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self._request(method, path, query=query, body=body, timeout=timeout) as response:
            return parsed(await response.read())

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  several limits, handed to the transport
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request; every failure, also while the answer is read, becomes an `ApiError`."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            parts = await self._client.param_serialize(
                method,
                path,
                query_params=[(key, value) for key, value in (query or {}).items() if value],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            try:
                answer = await self._client.call_api(*parts, _request_timeout=timeout)
            except asyncio.CancelledError:
                self._has_given_up = True
                raise
            async with answer.response as response:
                await check(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            raise ApiError(f"{method} {path}: {type(error).__name__}: {error}") from error


def _pod(namespace: str, name: str) -> str:
    """The path of a pod, whatever its names hold: they may come from a request to us."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"


def _events_of(event: PodEvent) -> str:
    return _EVENTS.format(namespace=quote(event.about.namespace, safe=""))


def _hang_up(response: aiohttp.ClientResponse) -> None:
    """End a stream in the middle: TLS would wait for a farewell that the event loop may not live to hear."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
