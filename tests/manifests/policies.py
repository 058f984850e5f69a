"""Waits until admission policies that were just applied are in force: the API server learns of them from a watch."""

from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from gpu_topology.assignment import ASSIGNED_ANNOTATION
from tests.control_plane import objects
from tests.manifests.kubectl import Kubectl

IN_FORCE_SECONDS = 30.0
RECORDED = {ASSIGNED_ANNOTATION: "a record"}


def wait_until_refused(attempt: Callable[[], str], reason: str) -> None:
    """Try again and again until what is tried is refused for the reason.

    Args:
        attempt: tries something that changes nothing, such as a dry run; returns the refusal, or an empty text.
        reason: a part of the refusal's text.

    Raises:
        AssertionError: it is still not refused so after `IN_FORCE_SECONDS`.
    """
    trying = Retrying(
        retry=retry_if_result(lambda refusal: reason not in refusal),
        stop=stop_after_delay(IN_FORCE_SECONDS),
        wait=wait_fixed(0.1),
    )
    try:
        trying(attempt)
    except RetryError as error:
        raise AssertionError(f"not refused with {reason!r}, but with {error.last_attempt.result()!r}") from error


def wait_for_the_policy_of_records(kubectl: Kubectl) -> None:
    """Wait until nobody but the extender may record GPUs on a pod; the base's other policies come with it."""
    pod = objects.pod("recorded", annotations=RECORDED)
    wait_until_refused(
        lambda: kubectl("create", "--dry-run=server", "-f-", manifest=pod).stderr,
        "written by the GPU scheduler's extender alone",
    )
