"""Keeps the agent's lease, by which others see that it lives."""

import asyncio
import random
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from kubernetes_api import ApiError

SHORTEST_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 2 * SHORTEST_SECONDS
"""Between two renewals, at random in between, so that the agents of a cluster do not come all at once. 5,000 agents
write some 110 leases a second; their kubelets, which renew every 10 seconds, write 500."""
DURATION_SECONDS: Final = 180
"""Without a renewal for so long, three at least have failed in a row: the agent counts as gone."""

_log = structlog.get_logger(__name__)


class LeaseApi(Protocol):
    """What is needed of `kubernetes_api.Cluster`."""

    async def renew_lease(self, namespace: str, node: str, duration_seconds: int) -> None:
        """Renew or make the lease; raises `ApiError`."""


def random_pause() -> float:
    """Seconds until the next renewal."""
    return random.uniform(SHORTEST_SECONDS, LONGEST_SECONDS)  # noqa: S311  no secret


async def keep_lease(api: LeaseApi, namespace: str, node: str, pause: Callable[[], float] = random_pause) -> None:
    """Renew the lease until cancelled. A failure is logged once, and made good by the next renewal.

    Args:
        api: the cluster.
        namespace: of the lease; its name is the node's.
        node: the node's name.
        pause: gives the seconds until the next renewal.
    """
    failure: str | None = None
    while True:
        try:
            await api.renew_lease(namespace, node, DURATION_SECONDS)
            failure = None
        except ApiError as error:
            if str(error) != failure:
                _log.warning("the lease could not be renewed, trying again", namespace=namespace, error=str(error))
            failure = str(error)
        await asyncio.sleep(pause())
