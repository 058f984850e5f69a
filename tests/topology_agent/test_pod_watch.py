"""The watch of a node's pods, with the right to it and without."""

import asyncio

from structlog.testing import capture_logs

from gpu_topology.request import ContainerRequest, GpuRequest
from kubernetes_api import ApiError
from tests.topology_agent.device_plugin.pods import api_pod
from tests.topology_agent.fake_cluster import FakeCluster
from topology_agent.pod_watch import follow_pods
from topology_agent.pods import PodCache

POD = api_pod("a", GpuRequest((ContainerRequest("main", 2),)))


async def followed(cluster: FakeCluster) -> PodCache:
    """What is known once the pods have been listed."""
    listed = asyncio.Event()
    pods = PodCache(listed.set)
    following = asyncio.create_task(follow_pods(cluster, "n", pods, pause_seconds=0))  # type: ignore[arg-type]  # a fake
    async with asyncio.timeout(30):
        await listed.wait()
    following.cancel()
    await asyncio.wait([following])
    return pods


async def test_an_agent_that_may_not_list_pods_says_so_once_and_goes_on_when_it_may() -> None:
    """As with the rights of an older version."""
    cluster = FakeCluster(pods=[POD])
    cluster.list_failures = [ApiError("pods is forbidden", 403) for _ in range(3)]
    with capture_logs() as logs:
        pods = await followed(cluster)
    assert [entry["log_level"] for entry in logs if "may not list pods" in entry["event"]] == ["warning"]
    assert list(pods.pods) == ["default/a"]


async def test_an_api_server_that_is_away_is_no_missing_right() -> None:
    cluster = FakeCluster(pods=[POD])
    cluster.list_failures = [ApiError("unavailable", 503)]
    with capture_logs() as logs:
        pods = await followed(cluster)
    assert not [entry for entry in logs if "may not list pods" in entry["event"]]
    assert list(pods.pods) == ["default/a"]
