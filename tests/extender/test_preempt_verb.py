"""The preempt verb over HTTP: what kube-scheduler sends, gets, and what is written down about it."""

from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from extender.app import create_app
from extender.ledger import Ledger
from extender.service import REPORT_PATIENCE, Service
from tests.extender.builders import bridged, holder, node, pod
from tests.extender.test_app import client_of, metrics_of

EMPTY: dict[str, Any] = {"NodeNameToMetaVictims": {}}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def full(name: str) -> dict[str, Any]:
    """A machine with two bridged pairs whose GPUs are held by `<name>-0` to `<name>-3`."""
    return node(name, bridged(4), held=[holder(f"{name}-{gpu}", [gpu]) for gpu in range(4)])


def service_of(clock: Clock | None = None, **options: Any) -> tuple[Service, Ledger]:
    """A service whose books have two full machines."""
    ledger = Ledger()
    ledger.replace_nodes([full("a"), full("b")])
    for name in ("a", "b"):
        for gpu in range(4):
            ledger.apply_pod(pod(f"{name}-{gpu}", 1, on=name))
    return Service(ledger, clock=clock or Clock(), **options), ledger


def request(asking: dict[str, Any] | None = None, **nodes: list[int]) -> dict[str, Any]:
    """A request as kube-scheduler sends it under `nodeCacheCapable: true`: node to the victims' GPUs."""
    victims = {
        name: {"Pods": [{"UID": f"uid-of-{name}-{gpu}"} for gpu in gpus], "NumPDBViolations": 0}
        for name, gpus in nodes.items()
    }
    asking = asking or pod(gpus=2, require="nvlink")
    return {"Pod": asking, "NodeNameToVictims": None, "NodeNameToMetaVictims": victims}


async def test_victims_come_back_by_uid_and_nodes_where_nothing_helps_not_at_all() -> None:
    async with client_of(create_app(service_of()[0])) as client:
        answer = await client.post("/preempt", json=request(a=[0, 2], b=[0, 1, 2]))
    victims = {"Pods": [{"UID": "uid-of-b-0"}, {"UID": "uid-of-b-1"}], "NumPDBViolations": 0}
    assert answer.json() == {"NodeNameToMetaVictims": {"b": victims}}


async def test_whole_pods_are_answered_by_uid_too() -> None:
    pods = [pod(f"a-{gpu}", 1, on="a") for gpu in (2, 3)]
    asking = {"Pod": pod(gpus=2, require="nvlink"), "NodeNameToVictims": {"a": {"Pods": pods, "NumPDBViolations": 1}}}
    async with client_of(create_app(service_of()[0])) as client:
        answer = (await client.post("/preempt", json=asking)).json()
    assert answer["NodeNameToMetaVictims"]["a"]["Pods"] == [{"UID": "uid-of-a-2"}, {"UID": "uid-of-a-3"}]
    assert answer["NodeNameToMetaVictims"]["a"]["NumPDBViolations"] == 1


async def test_where_no_eviction_helps_no_node_is_named() -> None:
    async with client_of(create_app(service_of()[0])) as client:
        assert (await client.post("/preempt", json=request(a=[0, 2], b=[1, 3]))).json() == EMPTY


@pytest.mark.parametrize(
    "asking", [{}, {"Pod": 7}, request(pod(gpus=2, require="the moon"), a=[0, 1])], ids=["empty", "pod", "wish"]
)
async def test_what_cannot_be_served_is_answered_with_nothing_and_logged(
    asking: dict[str, Any], logged: list[MutableMapping[str, Any]]
) -> None:
    async with client_of(create_app(service_of()[0])) as client:
        answer = await client.post("/preempt", json=asking)
    assert (answer.status_code, answer.json()) == (200, EMPTY)
    assert [(line["event"], line["verb"]) for line in logged] == [("refused", "preempt")]


async def test_what_is_not_json_is_answered_with_422() -> None:
    async with client_of(create_app(service_of()[0])) as client:
        assert (await client.post("/preempt", content=b"?")).status_code == 422


async def test_nobody_is_evicted_by_books_that_are_not_complete() -> None:
    async with client_of(create_app(service_of(waiting_for=lambda: "the list of pods")[0])) as client:
        assert (await client.post("/preempt", json=request(a=[0, 1]))).json() == EMPTY


async def test_a_preemption_is_one_line_in_the_log_and_is_counted(logged: list[MutableMapping[str, Any]]) -> None:
    async with client_of(create_app(service_of()[0])) as client:
        await client.post("/preempt", json=request(a=[0, 2], b=[0, 1, 2]))
        metrics = await metrics_of(client)
        explained = (await client.get("/v1/explain/team/trainer")).json()
    assert logged == [
        {
            "log_level": "info",
            "event": "preempt",
            "pod": "team/trainer",
            "gpus": 2,
            "candidates": 2,
            "victims": {"b": 2},
            "awaited": None,
        }
    ]
    assert metrics["gpu_scheduler_victims_total", ("kept",)] == 2
    assert metrics["gpu_scheduler_victims_total", ("spared",)] == 3
    assert metrics["gpu_scheduler_requests_total", ("ok", "preempt")] == 1
    assert explained["last_preempt"] == {
        "at": "2026-01-01T12:00:00+00:00",
        "offered": {"a": 2, "b": 3},
        "kept": {"b": 2},
        "awaited": None,
    }


async def test_nobody_else_is_evicted_while_the_report_lags_behind_the_first_eviction() -> None:
    """The victims on a are gone, and the API server knows; the agent has not reported it yet."""
    clock = Clock()
    service, ledger = service_of(clock)
    nominated = pod(gpus=2, require="nvlink")
    nominated["status"]["nominatedNodeName"] = "a"
    async with client_of(create_app(service)) as client:

        async def evicts(asking: dict[str, Any]) -> bool:
            answer = await client.post("/preempt", json=asking)
            return bool(answer.json()["NodeNameToMetaVictims"])

        assert await evicts(request(a=[0, 1]))
        for gpu in (0, 1):
            ledger.forget_pod(f"team/a-{gpu}")
        assert not await evicts(request(nominated, b=[0, 1]))
        assert (await client.get("/v1/explain/team/trainer")).json()["last_preempt"]["awaited"] == "a"
        clock.now += REPORT_PATIENCE + timedelta(seconds=1)
        assert await evicts(request(nominated, b=[0, 1]))


async def test_once_the_report_is_there_other_victims_may_be_looked_for() -> None:
    """If the pod still does not fit, something else keeps it from the node."""
    service, ledger = service_of()
    nominated = pod(gpus=2, require="nvlink")
    nominated["status"]["nominatedNodeName"] = "a"
    async with client_of(create_app(service)) as client:
        await client.post("/preempt", json=request(a=[0, 1]))
        for gpu in (0, 1):
            ledger.forget_pod(f"team/a-{gpu}")
        ledger.apply_node(node("a", bridged(4), held=[holder("a-2", [2]), holder("a-3", [3])], sequence=2))
        answer = await client.post("/preempt", json=request(nominated, b=[0, 1]))
    assert set(answer.json()["NodeNameToMetaVictims"]) == {"b"}
