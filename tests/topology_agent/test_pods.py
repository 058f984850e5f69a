"""What is kept of the API server's pods."""

import asyncio

import pytest

from gpu_topology.contract import ASSIGNED_ANNOTATION
from gpu_topology.request import ContainerKind, ContainerRequest, GpuRequest, Wishes
from tests.topology_agent.device_plugin.pods import api_pod
from topology_agent.pods import PodCache, pod_of

REQUEST = GpuRequest((ContainerRequest("proxy", 1, ContainerKind.SIDECAR), ContainerRequest("main", 2)))


def test_a_pod_is_read_with_its_request_and_its_record() -> None:
    pod = pod_of(api_pod("a", REQUEST, {ASSIGNED_ANNOTATION: '{"main": ["GPU-1", "GPU-0"]}'}))
    assert (pod.name, pod.uid, pod.request, pod.started) == ("default/a", "uid-a", REQUEST, False)
    assert pod.assigned == {"main": {"GPU-0", "GPU-1"}}


@pytest.mark.parametrize("record", ["", "{", "[]", "3", '{"main": "GPU-0"}'])
def test_a_record_that_cannot_be_read_is_none(record: str) -> None:
    assert pod_of(api_pod("a", REQUEST, {ASSIGNED_ANNOTATION: record})).assigned == {}


def test_a_wish_that_cannot_be_read_is_none() -> None:
    pod = pod_of(api_pod("a", REQUEST, {"gpu-scheduler/require": "magic"}))
    assert pod.request == GpuRequest(REQUEST.containers, Wishes())


def test_a_pod_whose_containers_the_kubelet_reports_has_started() -> None:
    assert pod_of(api_pod("a", REQUEST, started=True)).started


def test_the_cache_follows_the_watch() -> None:
    """A pod's successor of the same name outlives the news of its end."""
    cache = PodCache()
    cache.replaced([api_pod("a", REQUEST), api_pod("b", REQUEST)])
    cache.deleted(api_pod("b", REQUEST))
    successor = api_pod("a", GpuRequest())
    successor["metadata"]["uid"] = "another"
    cache.changed(successor)
    cache.deleted(api_pod("a", REQUEST))
    assert {name: pod.uid for name, pod in cache.pods.items()} == {"default/a": "another"}
    cache.replaced([])
    assert cache.pods == {}


def test_whoever_wants_to_know_is_told_when_a_pod_with_gpus_comes_starts_and_goes() -> None:
    """And of nothing else: a pod's status changes all the time."""
    told: list[None] = []
    cache = PodCache(lambda: told.append(None))
    pod = api_pod("a", REQUEST)
    started = api_pod("a", REQUEST, started=True)
    leaving = {**started, "metadata": {**started["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    ended = {**leaving, "status": {**leaving["status"], "phase": "Succeeded"}}
    for count, obj in enumerate([pod, started, leaving, ended], 1):
        cache.changed(obj)
        cache.changed(obj)
        assert len(told) == count
    cache.deleted(ended)
    assert len(told) == 5
    cache.changed(api_pod("b", GpuRequest()))
    cache.deleted(api_pod("b", GpuRequest()))
    assert len(told) == 5
    cache.replaced([])
    assert len(told) == 6


async def test_whoever_waits_for_pods_waits_for_all_of_them() -> None:
    cache = PodCache()
    waiting = asyncio.create_task(cache.wait_for({"default/a", "default/b"}))
    await asyncio.sleep(0)
    cache.changed(api_pod("a", REQUEST))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    cache.changed(api_pod("b", REQUEST))
    await waiting
