"""Whatever arrives: an answer in the right form, and the extender lives on."""

import asyncio
import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extender.app import create_app
from extender.ledger import Ledger
from extender.service import Service
from tests.extender.builders import bare_node, bridged, node, pod, switched

NODES = [node("bridged", bridged(4)), bare_node("silent"), node("switched", switched(8))]
NAMES = ["bridged", "silent", "switched", "never-seen"]
POD = pod(gpus=[2, 1], min_bandwidth_gbps="20", require="any", communication="heavy")
POD["spec"]["initContainers"] = [
    {"name": "init", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": 1}, "requests": {}}}
]
REQUESTS: list[dict[str, Any]] = [
    {"Pod": POD, "Nodes": None, "NodeNames": NAMES},
    {"Pod": POD, "Nodes": {"metadata": {}, "items": NODES}, "NodeNames": None},
]
PREEMPTIONS: list[dict[str, Any]] = [
    {"Pod": POD, "NodeNameToVictims": None, "NodeNameToMetaVictims": {"bridged": {"Pods": [{"UID": "uid-of-a"}]}}},
    {"Pod": POD, "NodeNameToVictims": {"silent": {"Pods": [pod("a", 1, on="silent")], "NumPDBViolations": 1}}},
]
ANSWER_KEYS = {"Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error"}

DEEP: list[Any] = []
for _ in range(400):
    DEEP = [DEEP]

JUNK = st.one_of(
    st.sampled_from([None, True, "", "x" * 100_000, "\x00", "1e400", "9" * 30, [], {}, DEEP, ["a"] * 3000, "switched"]),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.none() | st.integers(0, 9) | st.text(max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3), max_size=2),
)


@st.composite
def mutated(draw: st.DrawFn, requests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A valid request, of which one to four fields are dropped or hold something else."""
    request: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(requests)))
    for _ in range(draw(st.integers(1, 4))):
        parent, key = draw(st.sampled_from(list(places(request))))
        if draw(st.booleans()) and isinstance(parent, dict):
            del parent[key]
        else:
            parent[key] = copy.deepcopy(draw(JUNK))
        if not request:
            break
    return request


def places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value, down to the depth of a container's resources."""
    children = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, child in children:
        yield value, key
        if depth < 8:
            yield from places(child, depth + 1)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def client(runner: asyncio.Runner) -> Iterator[httpx.AsyncClient]:
    """One extender for all requests: what one of them breaks, the next ones see."""
    ledger = Ledger()
    ledger.replace_nodes(NODES)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(Service(ledger))), base_url="http://extender")
    yield client
    runner.run(client.aclose())


def names_in(request: dict[str, Any]) -> set[str]:
    """The node names of a request that has any."""
    nodes, names = request.get("Nodes"), request.get("NodeNames")
    if isinstance(names, list):
        return {name for name in names if isinstance(name, str)}
    return {node["metadata"]["name"] for node in (nodes or {}).get("items") or []}


def check_filter_result(request: dict[str, Any], answer: dict[str, Any]) -> None:
    assert answer.keys() == ANSWER_KEYS
    assert isinstance(answer["Error"], str)
    if answer["Error"]:
        assert "\n" not in answer["Error"]
        assert (answer["Nodes"], answer["NodeNames"]) == (None, None)
        return
    assert (answer["NodeNames"] is None) == (request.get("NodeNames") is None)
    passed = answer["NodeNames"]
    if passed is None:
        assert all(node in request["Nodes"]["items"] for node in answer["Nodes"]["items"] or [])
        passed = [node["metadata"]["name"] for node in answer["Nodes"]["items"]]
    assert {*passed, *answer["FailedNodes"], *answer["FailedAndUnresolvableNodes"]} <= names_in(request)


def check_priorities(request: dict[str, Any], answer: list[dict[str, Any]]) -> None:
    for entry in answer:
        assert entry.keys() == {"Host", "Score"}
        assert 1 <= entry["Score"] <= 10
        assert entry["Host"] in names_in(request)


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=mutated(REQUESTS))
def test_a_malformed_request_is_answered_in_the_right_form(
    runner: asyncio.Runner, client: httpx.AsyncClient, request: dict[str, Any]
) -> None:
    body = json.dumps(request).encode()
    filtered = runner.run(client.post("/filter", content=body))
    scored = runner.run(client.post("/prioritize", content=body))
    assert (filtered.status_code, scored.status_code) == (200, 200)
    check_filter_result(request, filtered.json())
    check_priorities(request, scored.json())


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=mutated(PREEMPTIONS))
def test_a_malformed_preempt_request_never_evicts_more_than_was_offered(
    runner: asyncio.Runner, client: httpx.AsyncClient, request: dict[str, Any]
) -> None:
    answer = runner.run(client.post("/preempt", content=json.dumps(request).encode()))
    assert answer.status_code == 200
    assert answer.json().keys() == {"NodeNameToMetaVictims"}
    for name, victims in answer.json()["NodeNameToMetaVictims"].items():
        offered = (request.get("NodeNameToVictims") or request["NodeNameToMetaVictims"])[name]
        uids = [entry.get("metadata", entry).get("uid", entry.get("UID")) for entry in offered["Pods"]]
        assert set() < {entry["UID"] for entry in victims["Pods"]} <= set(uids)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_answered_with_200_or_422(
    runner: asyncio.Runner, client: httpx.AsyncClient, data: st.DataObject
) -> None:
    body = bytearray(orjson.dumps(data.draw(st.sampled_from(REQUESTS))))
    cut = data.draw(st.integers(0, len(body)))
    damaged = bytes(body[:cut]) + data.draw(st.binary(max_size=4)) + bytes(body[cut + 1 :])
    for verb in ("filter", "prioritize", "preempt"):
        response = runner.run(client.post(f"/{verb}", content=data.draw(st.sampled_from([damaged, damaged[:cut]]))))
        assert response.status_code in (200, 422)
        orjson.loads(response.content)


def test_after_all_that_a_valid_request_gets_its_answer(runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
    answer = runner.run(client.post("/filter", content=orjson.dumps(REQUESTS[0]))).json()
    assert answer["NodeNames"] == ["switched", "bridged"]


@pytest.mark.parametrize(
    "containers",
    [
        [{"name": "c", "resources": {"requests": {"nvidia.com/gpu": "999999999k"}}}],
        [{"name": f"c{index}", "resources": {"requests": {"nvidia.com/gpu": "1"}}} for index in range(5000)],
    ],
    ids=["a number", "a list"],
)
def test_a_huge_request_for_gpus_is_refused_everywhere(
    runner: asyncio.Runner, client: httpx.AsyncClient, containers: list[dict[str, Any]]
) -> None:
    body = orjson.dumps({"Pod": {"spec": {"containers": containers}}, "NodeNames": ["bridged", "switched"]})
    answer = runner.run(client.post("/filter", content=body)).json()
    assert answer["NodeNames"] == []
    assert answer["FailedAndUnresolvableNodes"].keys() == {"bridged", "switched"}
