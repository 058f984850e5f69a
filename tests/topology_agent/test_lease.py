"""The lease is renewed for ever, seldom enough for a large cluster."""

import asyncio
from contextlib import suppress

from structlog.testing import capture_logs

from kubernetes_api import ApiError
from tests.topology_agent.fake_cluster import FakeCluster, node
from topology_agent.lease import DURATION_SECONDS, LONGEST_SECONDS, SHORTEST_SECONDS, keep_lease, random_pause

KUBELET_LEASE_SECONDS = 10


async def renewed(cluster: FakeCluster, times: int) -> None:
    task = asyncio.create_task(keep_lease(cluster, "agents", "n", lambda: 0))
    async with asyncio.timeout(10), cluster.patched:
        await cluster.patched.wait_for(lambda: len(cluster.renewals) >= times)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_lease_is_renewed_again_and_again() -> None:
    cluster = FakeCluster(node("n"))
    await renewed(cluster, 3)
    assert set(cluster.renewals) == {("agents", "n")}


async def test_a_failure_is_logged_once_and_the_lease_renewed_after_it() -> None:
    cluster = FakeCluster(node("n"))
    cluster.failures = [ApiError("down")] * 3
    with capture_logs() as logs:
        await renewed(cluster, 1)
    assert [entry["error"] for entry in logs] == ["down"]


def test_three_renewals_may_fail_before_the_agent_counts_as_gone() -> None:
    assert 3 * LONGEST_SECONDS <= DURATION_SECONDS


def test_agents_write_fewer_leases_than_their_kubelets() -> None:
    pauses = [random_pause() for _ in range(100)]
    assert min(pauses) >= SHORTEST_SECONDS >= 3 * KUBELET_LEASE_SECONDS
    assert max(pauses) <= LONGEST_SECONDS
    assert len(set(pauses)) > 1
