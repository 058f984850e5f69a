"""What is kept of the API server's pods."""

import asyncio

import pytest

from gpu_topology.assignment import ASSIGNED_ANNOTATION, Assignment, encode_assignment
from gpu_topology.request import ContainerKind, ContainerRequest, GpuRequest, Wishes
from tests.topology_agent.device_plugin.pods import api_pod, record
from topology_agent.pods import PodCache, pod_of
from topology_agent.settings import load_settings

REQUEST = GpuRequest((ContainerRequest("proxy", 1, ContainerKind.SIDECAR), ContainerRequest("main", 2)))


def test_a_pod_is_read_with_its_request_and_its_record() -> None:
    pod = pod_of(api_pod("a", REQUEST, record("a", main=["GPU-1", "GPU-0"])), trust_record=True)
    assert (pod.name, pod.uid, pod.request, pod.started) == ("default/a", "uid-a", REQUEST, False)
    assert pod.assigned == {"main": {"GPU-0", "GPU-1"}}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"main": ["GPU-0"]}'])
def test_a_record_that_cannot_be_read_is_none(text: str) -> None:
    assert pod_of(api_pod("a", REQUEST, {ASSIGNED_ANNOTATION: text}), trust_record=True).assigned == {}


@pytest.mark.parametrize(("uid", "node"), [("another", "n"), ("uid-a", "another")])
def test_a_record_about_another_pod_or_node_is_none(uid: str, node: str) -> None:
    """It was copied, with a pod's template say."""
    text = encode_assignment(Assignment(uid, node, (("main", ("GPU-0", "GPU-1")),), bandwidth_gbps=None, enforced=True))
    assert pod_of(api_pod("a", REQUEST, {ASSIGNED_ANNOTATION: text}), trust_record=True).assigned == {}


def test_a_record_is_not_trusted_unless_the_agent_is_told_to() -> None:
    """Whoever may create pods could have written it."""
    obj = api_pod("a", REQUEST, record("a", main=["GPU-1", "GPU-0"]))
    assert pod_of(obj, trust_record=False).assigned == {}
    for cache in (PodCache(), PodCache(trust_records=load_settings(["--node-name", "n"]).trust_records)):
        cache.changed(obj)
        assert cache.pods["default/a"].assigned == {}


def test_a_wish_that_cannot_be_read_is_none() -> None:
    pod = pod_of(api_pod("a", REQUEST, {"gpu-scheduler/require": "magic"}), trust_record=True)
    assert pod.request == GpuRequest(REQUEST.containers, Wishes())


def test_a_pod_whose_containers_the_kubelet_reports_has_started() -> None:
    assert pod_of(api_pod("a", REQUEST, started=True), trust_record=True).started


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
