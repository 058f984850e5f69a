"""Events are all in the log, and as many on the node as do no harm."""

import asyncio
from contextlib import suppress

from structlog.testing import capture_logs
from tenacity import wait_none

from kubernetes_api import ApiError, NodeEvent
from kubernetes_api.events import ATTEMPTS
from tests.topology_agent.fake_cluster import FakeCluster, node
from topology_agent.events import BURST, SECONDS_PER_EVENT, EventRecorder

LOST = NodeEvent("GpuLost", "TakenOut", "Lost GPU 1.", is_warning=True)
BACK = NodeEvent("GpuReturned", "PutBack", "Back in use: GPU 1.", is_warning=False)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def recorder(cluster: FakeCluster, clock: Clock | None = None) -> EventRecorder:
    return EventRecorder(cluster, "n", clock=clock or Clock(), pause=wait_none())


async def sent(subject: EventRecorder, cluster: FakeCluster, count: int) -> None:
    """Let the recorder run until the cluster has so many events."""
    task = asyncio.create_task(subject.run())
    async with asyncio.timeout(10), cluster.patched:
        await cluster.patched.wait_for(lambda: len(cluster.events) >= count)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_events_are_logged_and_sent_in_order() -> None:
    cluster = FakeCluster(node("n"))
    subject = recorder(cluster)
    with capture_logs() as logs:
        subject.record(LOST)
        subject.record(BACK)
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "Lost GPU 1."),
        ("info", "Back in use: GPU 1."),
    ]
    await sent(subject, cluster, 2)
    assert cluster.events == [LOST, BACK]


async def test_a_flapping_gpu_fills_the_log_and_not_the_api_server() -> None:
    cluster, clock = FakeCluster(node("n")), Clock()
    subject = recorder(cluster, clock)
    with capture_logs() as logs:
        for _ in range(5 * BURST):
            subject.record(LOST)
    assert [entry["is_sent"] for entry in logs] == [True] * BURST + [False] * 4 * BURST
    await sent(subject, cluster, BURST)
    clock.now = SECONDS_PER_EVENT
    with capture_logs() as logs:
        subject.record(BACK)
        subject.record(LOST)
    assert [entry["is_sent"] for entry in logs] == [True, False]


async def test_an_event_is_sent_again_when_the_api_server_is_back() -> None:
    cluster = FakeCluster(node("n"))
    cluster.failures = [ApiError("down"), ApiError("down")]
    subject = recorder(cluster)
    subject.record(LOST)
    await sent(subject, cluster, 1)
    assert cluster.events == [LOST]


async def test_an_event_that_cannot_be_sent_is_given_up_and_the_next_one_is_sent() -> None:
    cluster = FakeCluster(node("n"))
    cluster.failures = [ApiError("forbidden", 403)] * ATTEMPTS
    subject = recorder(cluster)
    subject.record(LOST)
    subject.record(BACK)
    with capture_logs() as logs:
        await sent(subject, cluster, 1)
    assert cluster.events == [BACK]
    assert [entry["error"] for entry in logs] == ["forbidden", "forbidden"]
