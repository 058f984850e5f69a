"""A short form of the experiment `chaos`, and what its watcher takes for a GPU that is promised twice."""

from typing import Any

import orjson
import pytest

from benchmarks.chaos import measure
from benchmarks.chaos_watcher import Watcher
from gpu_topology.assignment import ASSIGNED_ANNOTATION, Assignment, encode_assignment
from gpu_topology.contract import STATE_ANNOTATION
from tests.control_plane.client import Client
from tests.control_plane.objects import node, pod


@pytest.mark.usefixtures("control_plane_programs")
@pytest.mark.parametrize("bind", [False, True], ids=["shipped", "binding"])
def test_nothing_is_promised_twice_and_nobody_forgotten(*, bind: bool) -> None:
    """On 12 nodes, whatever is killed; with the bind verb no recorded set overlaps another."""
    outcome = measure(pods=80, nodes=12, kills=5, bind=bind)
    assert outcome.figures == {
        "pods": 80,
        "kills": 5,
        "promised_twice": 0,
        "stuck": 0,
        "books_differ": 0,
    }, outcome


def watcher() -> Watcher:
    """One that is shown what it sees by hand."""

    def connect() -> Client:
        raise AssertionError("it has not been started")

    return Watcher(connect, {"n": 4})


def running(name: str, gpus: int, *, promised: tuple[str, ...] = (), enforced: bool = True) -> dict[str, Any]:
    """A pod that runs on the node, perhaps with a record."""
    made = pod(name, gpus=gpus)
    made["spec"]["nodeName"] = "n"
    made["status"] = {"phase": "Running"}
    if promised:
        record = Assignment(f"uid-{name}", "n", (("main", promised),), None, enforced)
        made["metadata"]["annotations"] = {ASSIGNED_ANNOTATION: encode_assignment(record)}
    return made


def test_the_watcher_sees_more_pods_than_a_node_has_gpus() -> None:
    """Unless one has left before the next came."""
    sees = watcher()
    sees.see_pod("ADDED", running("a", 3))
    sees.see_pod("DELETED", running("a", 3))
    sees.see_pod("ADDED", running("b", 2))
    assert not sees.twice
    sees.see_pod("ADDED", running("c", 3))
    assert sees.twice == {"n has 4 GPUs, but these pods: ['b', 'c']"}
    assert sees.bound == {"a", "b", "c"}


def test_the_watcher_sees_a_gpu_that_two_pods_hold() -> None:
    """By a node's annotation."""
    held = [{"pod": f"default/{name}", "container": "main", "gpus": gpus} for name, gpus in (("a", [0, 1]), ("b", [1]))]
    sees = watcher()
    sees.see_node("ADDED", node("n", gpus=4))
    sees.see_node("MODIFIED", node("n", gpus=4, annotations={STATE_ANNOTATION: orjson.dumps({"held": held}).decode()}))
    assert sees.twice == {"GPU 1 of n is published as held by ['default/a', 'default/b']"}


def test_the_watcher_sees_a_gpu_that_is_recorded_for_two_pods() -> None:
    """Only where the node keeps to the record is it a promise."""
    sees = watcher()
    sees.see_pod("ADDED", running("a", 1, promised=("GPU-1",), enforced=False))
    sees.see_pod("ADDED", running("b", 1, promised=("GPU-1",)))
    assert not sees.twice
    sees.see_pod("ADDED", running("c", 2, promised=("GPU-1", "GPU-2")))
    assert sees.twice == {"GPU-1 of n is recorded for ['b', 'c']"}
