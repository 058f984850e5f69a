"""The extender over HTTP, without a cluster."""

from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp

from extender.app import create_app, create_probes_app, create_verbs_app
from extender.ledger import Ledger
from extender.preferences import CandidateLimits
from extender.service import MIB, Service
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, switched

NODES = [node("bridged", bridged(4)), node("plain", plain(4)), bare_node("silent"), node("switched", switched(8))]
NAMES = ["bridged", "plain", "silent", "switched"]


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """A client of an app in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://extender")


def service_of(**options: Any) -> Service:
    """A service whose books hold `NODES`."""
    ledger = Ledger()
    ledger.replace_nodes(NODES)
    return Service(ledger, **options)


def by_names(asking: dict[str, Any]) -> dict[str, Any]:
    """A request as kube-scheduler sends it under `nodeCacheCapable: true`."""
    return {"Pod": asking, "Nodes": None, "NodeNames": NAMES}


def by_nodes(asking: dict[str, Any]) -> dict[str, Any]:
    """A request as kube-scheduler sends it under `nodeCacheCapable: false`."""
    return {"Pod": asking, "Nodes": {"metadata": {}, "items": NODES}, "NodeNames": None}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(service_of())) as client:
        yield client


async def metrics_of(client: httpx.AsyncClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """The metrics by name and label values, the labels in the order of their names."""
    exposition = (await client.get("/metrics")).text
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


async def test_filter_answers_names_with_names(client: httpx.AsyncClient) -> None:
    response = await client.post("/filter", json=by_names(pod(gpus=2, require="nvlink")))
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "Nodes": None,
        "NodeNames": ["switched", "bridged"],
        "FailedNodes": {"silent": "topology unknown: the node has no annotation gpu-scheduler/topology"},
        "FailedAndUnresolvableNodes": {"plain": "no 2 free GPUs are all linked by NVLink"},
        "Error": "",
    }


async def test_filter_answers_whole_nodes_with_whole_nodes(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/filter", json=by_nodes(pod(gpus=8)))).json()
    assert answer["Nodes"] == {"items": [NODES[3], NODES[2]]}
    assert answer["NodeNames"] is None
    assert set(answer["FailedAndUnresolvableNodes"]) == {"bridged", "plain"}


@pytest.mark.parametrize("form", [by_names, by_nodes])
async def test_prioritize_answers_a_bare_list_in_which_the_zeros_are_left_out(
    client: httpx.AsyncClient, form: Any
) -> None:
    answer = (await client.post("/prioritize", json=form(pod(gpus=4)))).json()
    assert {"Host": "switched", "Score": 10} in answer
    assert all(entry.keys() == {"Host", "Score"} and 0 < entry["Score"] <= 10 for entry in answer)
    assert "silent" not in {entry["Host"] for entry in answer}


async def test_a_pod_whose_annotation_cannot_be_read_is_told_so(client: httpx.AsyncClient) -> None:
    request = by_names(pod(gpus=2, require="the moon"))
    answer = (await client.post("/filter", json=request)).json()
    assert answer["Error"].startswith("gpu-scheduler/require is 'the moon': it must be one of any, numa")
    assert (await client.post("/prioritize", json=request)).json() == []


async def test_a_pod_without_gpus_passes_everywhere_whatever_its_annotations_say(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/filter", json=by_names(pod(gpus=0, require="the moon")))).json()
    assert answer["NodeNames"] == NAMES


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
async def test_what_is_not_json_is_answered_with_422(client: httpx.AsyncClient, verb: str) -> None:
    response = await client.post(f"/{verb}", content=b'{"Pod":')
    assert response.status_code == 422
    assert response.json()["detail"].startswith("the request is not JSON")


async def test_a_request_over_the_limit_is_refused_in_a_sentence() -> None:
    async with client_of(create_app(service_of(max_request_bytes=MIB))) as client:
        request = by_names(pod(gpus=2, require="x" * MIB))
        answer = (await client.post("/filter", json=request)).json()
        assert answer["Error"] == "the request is larger than 1 MiB, the limit set here"
        assert (await client.post("/prioritize", json=request)).json() == []


async def test_only_the_best_candidates_pass() -> None:
    async with client_of(create_app(service_of(limits=CandidateLimits(1)))) as client:
        answer = (await client.post("/filter", json=by_names(pod(gpus=2)))).json()
    assert answer["NodeNames"] == ["switched"]
    assert answer["FailedNodes"] == answer["FailedAndUnresolvableNodes"] == {}


async def test_a_pod_that_is_tried_again_gets_another_one_of_equally_good_nodes() -> None:
    """The first may have failed for what only kube-scheduler sees."""
    ledger = Ledger()
    ledger.replace_nodes([node(name, switched(8)) for name in "abc"])
    request = {"Pod": pod(gpus=2), "NodeNames": list("abc")}
    async with client_of(create_app(Service(ledger, limits=CandidateLimits(1)))) as client:
        answers = [(await client.post("/filter", json=request)).json()["NodeNames"] for _ in range(3)]
    assert sorted(name for [name] in answers) == list("abc")


async def test_until_the_books_are_complete_nothing_is_decided_about_gpus() -> None:
    missing: list[str] = ["the list of nodes"]
    service = service_of(waiting_for=lambda: missing[0] if missing else None)
    reason = "the extender is still waiting for the list of nodes"
    async with client_of(create_app(service)) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.text) == (503, reason)
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.post("/filter", json=by_names(pod(gpus=2)))).json()["Error"] == reason
        assert (await client.post("/filter", json=by_names(pod(gpus=0)))).json()["NodeNames"] == NAMES
        assert (await client.post("/prioritize", json=by_names(pod(gpus=2)))).json() == []
        missing.clear()
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/filter", json=by_names(pod(gpus=2)))).json()["Error"] == ""


async def test_the_two_listeners_share_nothing_but_the_service() -> None:
    service = service_of()
    async with client_of(create_verbs_app(service)) as verbs, client_of(create_probes_app(service)) as probes:
        assert (await verbs.post("/filter", json=by_names(pod()))).status_code == 200
        assert (await verbs.get("/metrics")).status_code == 404
        assert (await probes.post("/filter", json=by_names(pod()))).status_code == 404
        assert (await metrics_of(probes))["gpu_scheduler_requests_total", ("ok", "filter")] == 1


async def test_requests_are_counted_by_result(client: httpx.AsyncClient) -> None:
    await client.post("/filter", json=by_names(pod(gpus=2)))
    await client.post("/filter", json=by_names(pod(gpus=2, require="the moon")))
    await client.post("/filter", json={})
    await client.post("/prioritize", json=[])
    await client.post("/prioritize", content=b"?")
    metrics = await metrics_of(client)
    found = {labels: count for (name, labels), count in metrics.items() if name == "gpu_scheduler_requests_total"}
    assert found == {
        ("ok", "filter"): 1,
        ("error", "filter"): 1,
        ("malformed", "filter"): 1,
        ("malformed", "prioritize"): 1,
        ("unreadable", "prioritize"): 1,
    }
    assert metrics["gpu_scheduler_request_duration_seconds_count", ("filter",)] == 3


async def test_refused_nodes_are_counted_by_reason(client: httpx.AsyncClient) -> None:
    await client.post("/filter", json=by_names(pod(gpus=2, require="nvlink")))
    metrics = await metrics_of(client)
    assert metrics["gpu_scheduler_refusals_total", ("require",)] == 1
    assert metrics["gpu_scheduler_refusals_total", ("topology-unknown",)] == 1
    assert metrics["gpu_scheduler_candidates_total", ("filter",)] == 4


async def test_nodes_are_counted_by_what_is_known_of_them(client: httpx.AsyncClient) -> None:
    metrics = await metrics_of(client)
    assert metrics["gpu_scheduler_nodes", ("known",)] == 3
    assert metrics["gpu_scheduler_nodes", ("no-topology",)] == 1
    assert metrics["gpu_scheduler_nodes", ("stale-state",)] == 0


async def test_every_decision_is_one_line_in_the_log(
    client: httpx.AsyncClient, logged: list[MutableMapping[str, Any]]
) -> None:
    await client.post("/filter", json=by_names(pod(gpus=2, require="nvlink")))
    assert logged == [
        {
            "log_level": "info",
            "event": "filter",
            "pod": "team/trainer",
            "gpus": 2,
            "candidates": 4,
            "passed": 2,
            "left_out": 0,
            "refused": {"require": 1, "topology-unknown": 1},
            "best_node": "switched",
            "gpus_by_container": {"c0": [0, 1]},
            "bandwidth_gbps": 376.2,
        }
    ]


async def test_a_request_that_cannot_be_served_is_logged_with_the_reason(
    client: httpx.AsyncClient, logged: list[MutableMapping[str, Any]]
) -> None:
    await client.post("/prioritize", json={"Pod": 7})
    assert logged == [
        {
            "log_level": "warning",
            "event": "refused",
            "verb": "prioritize",
            "result": "malformed",
            "error": "Pod is a number, not an object",
        }
    ]


async def test_the_books_of_a_node_can_be_read() -> None:
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(4), held=[holder("first", [0])], unhealthy={3: "XID 79"}, sequence=7)])
    ledger.apply_pod(pod("second", 1, on="n"))
    async with client_of(create_app(Service(ledger))) as client:
        assert (await client.get("/v1/nodes/n")).json() == {
            "node": "n",
            "knowledge": "known",
            "problem": None,
            "standing": "good",
            "standing_reason": None,
            "left_out_until": None,
            "sequence": 7,
            "free": [2],
            "usable": [0, 1, 2],
            "held": {"team/first": [0]},
            "expected": {"team/second": [1]},
            "exclusive": [],
            "claimed": {},
            "slices": None,
            "expected_slices": {},
        }


async def test_the_books_of_an_unknown_node_say_why(client: httpx.AsyncClient) -> None:
    account = (await client.get("/v1/nodes/silent")).json()
    assert (account["knowledge"], account["free"]) == ("no-topology", None)
    assert account["problem"] == "the node has no annotation gpu-scheduler/topology"
    assert (await client.get("/v1/nodes/never-seen")).status_code == 404
