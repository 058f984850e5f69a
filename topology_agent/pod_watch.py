"""Follows the pods of this node, where the agent may."""

import asyncio
from http import HTTPStatus
from typing import Final

import structlog

from kubernetes_api import ApiError, Cluster, Handler, Reflector, Resource

REFUSED_PAUSE_SECONDS: Final = 30.0
"""Until it is tried again to read pods where that is not allowed: somebody has to grant it first."""

_log = structlog.get_logger(__name__)


async def follow_pods(
    cluster: Cluster, node: str, handler: Handler, *, pause_seconds: float = REFUSED_PAUSE_SECONDS
) -> None:
    """Let a handler know of this node's pods and of every change, until cancelled.

    The rights of an older version do not allow it. That is said once; the agent does without, and tries again.

    Args:
        cluster: where the pods are.
        node: the node's name.
        handler: whoever wants to know.
        pause_seconds: until it is tried again where it is not allowed.
    """
    selector = f"spec.nodeName={node}"
    refused = False
    while not await _may_read(cluster, selector):
        if not refused:
            _log.warning("the agent may not list pods: that they come or go it sees only when it asks the kubelet next")
        refused = True
        await asyncio.sleep(pause_seconds)
    await Reflector(cluster, Resource.PODS, handler, field_selector=selector).run()


async def _may_read(cluster: Cluster, selector: str) -> bool:
    """Whether the API server does not say otherwise; who asks in earnest copes with its other failures."""
    try:
        async for _ in cluster.pages(Resource.PODS, field_selector=selector):
            pass
    except ApiError as error:
        return error.status != HTTPStatus.FORBIDDEN
    return True
