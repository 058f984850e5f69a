"""Sends events about nodes and pods: tried again for a while where the API server is away, then given up."""

from typing import Final, Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from kubernetes_api.created import NodeEvent, PodReference
from kubernetes_api.errors import ApiError

ATTEMPTS: Final = 12
"""Tries for one event, some five minutes together; it is in the log in any case."""
PAUSE: Final = wait_random_exponential(multiplier=1, max=60)
"""Between tries, in seconds."""

_log = structlog.get_logger(__name__)


class EventApi(Protocol):
    """What is needed of `kubernetes_api.Cluster`."""

    async def create_event(self, about: str | PodReference, event: NodeEvent) -> None:
        """Say something about a node, by its name, or about a pod; raises `ApiError`."""


async def send_event(api: EventApi, about: str | PodReference, event: NodeEvent, *, pause: wait_base = PAUSE) -> None:
    """Send one event, or give it up after `ATTEMPTS`; what is wrong is logged, not raised."""
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(ApiError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=pause,
            before_sleep=_note_first_failure,
            reraise=True,
        ):
            with attempt:
                await api.create_event(about, event)
    except ApiError as error:
        _log.warning("the event is given up", about=str(about), reason=event.reason, error=str(error))


def _note_first_failure(state: RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        _log.warning("an event could not be sent, trying again", error=str(state.outcome.exception()))
