"""Fetches the overview of a cluster, from an extender or by way of the API server."""

import asyncio
from typing import Any

from extender.overview import overview_of
from gputopo.access import Access, CannotAskError
from gputopo.cluster import has_gpus
from gputopo.extender_client import ask


def read_overview(access: Access) -> dict[str, Any]:
    """The overview of a cluster, as docs/http-api.md describes it, of those nodes that have GPUs.

    From the API server it also has `agents_seen`: node to when its agent last renewed its lease, in RFC 3339.

    Raises:
        CannotAskError: nobody can be asked, or the cluster has no node with GPUs.
    """
    document = extender_overview(access.url) if access.url is not None else asyncio.run(_api_overview(access))
    return with_gpus(document)


def extender_overview(url: str) -> dict[str, Any]:
    """The overview that an extender serves.

    Raises:
        CannotAskError: there is no extender, or an older one.
    """
    document = ask(url, "/v1/cluster")
    if not {"nodes", "topologies"} <= document.keys():
        raise CannotAskError(f"{url} is no extender that shows its cluster: its answer names no nodes")
    return document


def only_with_gpus(document: dict[str, Any]) -> dict[str, Any]:
    """An overview without the nodes that have no GPUs."""
    return {**document, "nodes": [node for node in document["nodes"] if has_gpus(node)]}


def with_gpus(document: dict[str, Any]) -> dict[str, Any]:
    """The same, if any is left.

    Raises:
        CannotAskError: none is.
    """
    narrowed = only_with_gpus(document)
    if not narrowed["nodes"]:
        raise CannotAskError(
            f"none of the cluster's {len(document['nodes'])} nodes has GPUs by its kubelet or its agent: is the agent "
            "there, and do its pods run?"
        )
    return narrowed


async def _api_overview(access: Access) -> dict[str, Any]:
    from gputopo.api_books import books_of  # noqa: PLC0415  it loads the Kubernetes client, for half a second

    async with books_of(access) as books:
        return {**overview_of(books.ledger), "agents_seen": await books.agents_seen()}
