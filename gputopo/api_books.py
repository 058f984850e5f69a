"""The extender's books without an extender: filled from the API server by the extender's own code."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from extender.clock import utc_now
from extender.dra import DeviceClasses
from extender.failing import Departures, FailingNodes
from extender.feeds import Feeds, NodeFeed, PodFeed, trimmed_node, trimmed_pod
from extender.ledger import Ledger
from gpu_topology.errors import SettingsError
from gputopo.access import Access, CannotAskError
from kubernetes_api import ApiError, Cluster, Handler, Reflector, Resource

_BOUND: Final = "spec.nodeName!="
_WAITING: Final = "spec.nodeName="
_ABSENT: Final = (403, 404)
"""What the API server answers about what it does not have, or does not show us."""

Trim = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Followed:
    """A resource, and who is told of it."""

    resource: Resource
    handler: Handler
    trim: Trim
    field_selector: str = ""
    is_optional: bool = False


class ApiBooks:
    """The books of a cluster, as an extender with its default settings would keep them.

    A record on a pod counts as written by an extender.

    Attributes:
        ledger: the books.

    Args:
        cluster: the API server.
        clock: returns the present time, with its zone.
    """

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime] = utc_now) -> None:
        self.ledger = Ledger(trusts_records=True)
        self._cluster = cluster
        self._failing = FailingNodes(self.ledger, clock=clock)
        nodes = Feeds(NodeFeed(self.ledger), Departures(self._failing))
        pods = Feeds(PodFeed(self.ledger), self._failing)
        classes = DeviceClasses(self.ledger.serve_by_dra)
        self._followed = (
            _Followed(Resource.NODES, nodes, trimmed_node),
            _Followed(Resource.PODS, pods, trimmed_pod, _BOUND),
            _Followed(Resource.DEVICE_CLASSES, classes, _as_it_is, is_optional=True),
        )
        self._versions: dict[Resource, str] = {}

    async def read(self) -> None:
        """List everything once.

        Raises:
            CannotAskError: the API server refused, or could not be reached.
        """
        for each in self._followed:
            objects = await self._listed(each)
            each.handler.replaced(objects)
        self._failing.look()

    def look(self) -> None:
        """Bring up to date what changes with time alone: where pods keep failing."""
        self._failing.look()

    def reflectors(self) -> list[Reflector]:
        """What keeps the books up to date from the last `read` on, while each of them runs."""
        return [
            Reflector(
                self._cluster,
                each.resource,
                each.handler,
                field_selector=each.field_selector,
                trim=each.trim,
                is_optional=each.is_optional,
                since=self._versions.get(each.resource),
            )
            for each in self._followed
        ]

    async def waiting(self, namespace: str | None = None) -> list[dict[str, Any]]:
        """The pods that no scheduler has given a node, as the API server has them, of one namespace or all.

        Raises:
            CannotAskError: the API server refused, or could not be reached.
        """
        waiting = _Followed(Resource.PODS, PodFeed(self.ledger), _as_it_is, _WAITING)
        pods = await self._listed(waiting)
        return [pod for pod in pods if namespace in (None, pod["metadata"]["namespace"])]

    async def pod(self, namespace: str, name: str) -> dict[str, Any]:
        """One pod, as the API server has it.

        Raises:
            NotFoundError: there is no such pod.
            CannotAskError: the API server refused, or could not be reached.
        """
        try:
            return await self._cluster.get_pod(namespace, name)
        except ApiError as error:
            if error.status == 404:  # noqa: PLR2004  HTTP's own number
                raise
            raise self._refusal(error) from error

    async def agents_seen(self) -> Mapping[str, str]:
        """Node to when its agent last renewed its lease, in RFC 3339; empty where leases are not shown to us.

        Raises:
            CannotAskError: the API server could not be reached.
        """
        leases = await self._listed(_Followed(Resource.AGENT_LEASES, PodFeed(self.ledger), _as_it_is, is_optional=True))
        return {lease["metadata"]["name"]: (lease.get("spec") or {}).get("renewTime") or "" for lease in leases}

    async def _listed(self, followed: _Followed) -> list[dict[str, Any]]:
        objects: list[dict[str, Any]] = []
        try:
            pages = self._cluster.pages(followed.resource, field_selector=followed.field_selector)
            async for page, version in pages:
                objects.extend(map(followed.trim, page))
                self._versions[followed.resource] = version
        except ApiError as error:
            if followed.is_optional and error.status in _ABSENT:
                return []
            raise self._refusal(error) from error
        return objects

    def _refusal(self, error: ApiError) -> CannotAskError:
        """What a person can do about it; the API server itself says which right is missing."""
        match error.status:
            case None:
                return CannotAskError(f"the API server at {self._cluster.server} cannot be reached: {error}")
            case 401:
                return CannotAskError(f"the API server at {self._cluster.server} does not know these credentials")
            case 403:
                return CannotAskError(f"the API server refuses: {error}")
        return CannotAskError(f"the API server at {self._cluster.server} cannot be asked: {error}")


@asynccontextmanager
async def books_of(access: Access) -> AsyncIterator[ApiBooks]:
    """The books of the cluster that a kubeconfig leads to, filled.

    Raises:
        CannotAskError: there are no credentials, or the API server refused, or could not be reached.
    """
    try:
        connection = await Cluster.connect_as_kubectl(access.kubeconfig, access.context)
    except SettingsError as error:
        raise CannotAskError(str(error)) from error
    async with connection as cluster:
        books = ApiBooks(cluster)
        await books.read()
        yield books


def _as_it_is(obj: dict[str, Any]) -> dict[str, Any]:
    return obj
