"""GET /v1/cluster and /v1/pods: what is in them, that it is documented, and that polling is cheap."""

import asyncio
import re
from typing import Any

import httpx
import orjson
import pytest

from benchmarks.synthetic_cluster import published_nodes
from extender.app import create_app
from extender.failures import Standing, Verdict
from extender.ledger import Ledger
from extender.overview import BASES, GpuState, node_overview, overview_of
from extender.overview_answers import NODES_AT_A_TIME, OverviewAnswers
from extender.service import Service
from gpu_topology.contract import Allocation
from gpu_topology.cordon import CORDONED
from gpu_topology.slices import SliceHolder, SlicePool
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, sliced_pod, switched
from tests.extender.test_app import client_of
from tests.manifests.files import REPOSITORY

MIG = "nvidia.com/mig-1g.10gb"
DOCUMENT = (REPOSITORY / "docs" / "http-api.md").read_text()
FREE_FORM = {"topologies", "pods[].asks_for.containers", "pods[].asks_for.slices", "pods[].last_filter.refused"}
"""Objects whose keys are names, not fields."""


def ledger_of(*nodes: dict[str, Any], pods: tuple[dict[str, Any], ...] = ()) -> Ledger:
    ledger = Ledger()
    ledger.replace_nodes(nodes)
    ledger.replace_pods(pods)
    return ledger


def page_of(ledger: Ledger, name: str = "n") -> dict[str, Any]:
    """A node's page as a reader gets it."""
    page: dict[str, Any] = orjson.loads(orjson.dumps(node_overview(ledger, name)))
    return page


def fields_of(value: Any, path: str = "") -> set[str]:
    """The paths of all fields, as the documentation writes them."""
    if isinstance(value, list):
        return set().union(*(fields_of(each, f"{path}[]") for each in value))
    if not isinstance(value, dict):
        return set()
    if path in FREE_FORM or path.endswith("pods[].slices"):
        return set().union(*(fields_of(each, f"{path}.*") for each in value.values()))
    inner = {key: f"{path}.{key}" if path else key for key in value}
    return set(inner.values()).union(*(fields_of(value[key], inner[key]) for key in value))


def documented(section: str) -> set[str]:
    """The fields in the first table of a section."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_.*\[\]]+(?:\[\]|\.|_|[a-z])+)` \|", text, re.MULTILINE)) - set(BASES)


def test_every_field_of_the_cluster_is_documented_and_every_documented_one_is_there() -> None:
    pools = [SlicePool(MIG, 3, 7, 5), SlicePool("nvidia.com/gpu.shared", None, 4, 4)]
    ledger = ledger_of(node("n", bridged(4), slices=pools, held=[holder("a", [0])]))
    assert fields_of(overview_of(ledger)) == documented("GET /v1/cluster")


async def test_every_field_of_the_pods_is_documented_and_every_documented_one_is_there() -> None:
    async with client_of(create_app(Service(ledger_of(node("n", plain(4)))))) as client:
        await client.post("/filter", json={"Pod": pod(gpus=8), "NodeNames": ["n"]})
        assert fields_of((await client.get("/v1/pods")).json()) == documented("GET /v1/pods")


@pytest.mark.parametrize("word", [*GpuState, *BASES, *Allocation])
def test_every_word_of_an_answer_is_documented(word: str) -> None:
    assert f"`{word}`" in DOCUMENT


def test_each_gpu_says_who_has_it_and_what_that_rests_on() -> None:
    ledger = ledger_of(
        node(
            "n",
            bridged(6),
            held=[holder("first", [0, 1])],
            unhealthy={1: "XID 79", 5: CORDONED},
            free=[2, 3],
            allocation=Allocation.VENDOR,
        ),
        pods=(pod("first", 2, on="n"), pod("second", 2, on="n")),
    )
    page = page_of(ledger)
    assert [(gpu["state"], gpu["pod"], gpu["basis"]) for gpu in page["gpus"]] == [
        ("held", "team/first", "reported"),
        ("unhealthy", "team/first", "reported"),
        ("held", "team/second", "predicted"),
        ("held", "team/second", "predicted"),
        ("held", None, None),
        ("cordoned", None, None),
    ]
    assert page["gpus"][1]["reason"] == "XID 79"
    assert (page["free"], page["usable"], page["gpus"][0]["uuid"]) == (0, 4, "GPU-0")


def test_a_pod_says_how_good_its_set_is_and_how_good_it_could_be() -> None:
    ledger = ledger_of(node("n", bridged(4), held=[holder("split", [0, 2])]), pods=(pod("split", 2, on="n"),))
    [entry] = page_of(ledger)["pods"]
    assert (entry["bandwidth_gbps"], entry["best_bandwidth_gbps"]) == (26.3, 56.0)
    assert (entry["asks_for"], entry["scheduled_at"]) == (2, "2026-01-01T00:00:00Z")


def test_the_best_free_sets_end_with_the_largest() -> None:
    ledger = ledger_of(node("n", bridged(8), held=[holder("one", [0])]))
    sets = page_of(ledger)["best_sets"]
    assert [(len(each["gpus"]), each["bandwidth_gbps"]) for each in sets] == [(2, 56.0), (4, 26.3), (7, 26.3)]
    assert sets[0]["gpus"] == [2, 3]


def test_a_cut_gpu_shows_its_slices_as_pods_that_are_expected_leave_them() -> None:
    pools = [SlicePool(MIG, 0, 7, 6)]
    held = [SliceHolder("team/known", "c0", MIG, 0, 1)]
    ledger = ledger_of(
        node("n", plain(2), slices=pools, held_slices=held),
        pods=(sliced_pod("known", slices={MIG: 1}, on="n"), sliced_pod("coming", slices={MIG: 2}, on="n")),
    )
    page = page_of(ledger)
    assert page["gpus"][0]["state"] == "sliced"
    assert page["gpus"][0]["slices"] == [{"resource": MIG, "total": 7, "free": 4}]
    coming, known = page["pods"]
    assert (coming["slices"], coming["basis"]) == ({MIG: 2}, "enforced")
    assert (known["slices"], known["basis"]) == ({MIG: 1}, "reported")


def test_an_unknown_node_shows_its_pods_and_nothing_that_is_guessed() -> None:
    ledger = ledger_of(bare_node("n"), pods=(pod("first", 2, on="n"),))
    page = page_of(ledger)
    assert (page["knowledge"], page["topology"], page["gpus"], page["free"]) == ("no-topology", None, None, None)
    assert page["allocatable"] == 8
    [entry] = page["pods"]
    assert (entry["asks_for"], entry["gpus"], entry["basis"]) == (2, None, None)


def test_machines_of_a_kind_are_described_once() -> None:
    ledger = ledger_of(*(node(name, switched(8)) for name in "abc"), node("d", plain(4)))
    overview = overview_of(ledger)
    assert len(overview["topologies"]) == 2
    assert {page["topology"] for page in overview["nodes"]} == overview["topologies"].keys()
    kind = overview["topologies"][overview["nodes"][0]["topology"]]
    assert (kind["interconnect"], len(kind["links"])) == ("nvswitch", 28)
    assert kind["links"][0] == {"gpus": [0, 1], "kind": "nvswitch", "token": "NV18", "bandwidth_gbps": 376.2}


async def test_nothing_new_is_answered_with_304_until_something_changes() -> None:
    ledger = ledger_of(node("n", plain(4)))
    async with client_of(create_app(Service(ledger))) as client:
        first = await client.get("/v1/cluster")
        known = {"if-none-match": first.headers["etag"]}
        assert (await client.get("/v1/cluster", headers=known)).status_code == 304
        ledger.apply_pod(pod("late", 1, on="n"))
        second = await client.get("/v1/cluster", headers=known)
        assert second.json()["nodes"][0]["free"] == 3
        known = {"if-none-match": second.headers["etag"]}
        ledger.standings = {"n": Verdict(Standing.SUSPECT, "3 GPU pods failed")}
        third = await client.get("/v1/cluster", headers=known)
        assert third.json()["nodes"][0]["standing_reason"] == "3 GPU pods failed"
        known = {"if-none-match": third.headers["etag"]}
        ledger.forget_node("n")
        assert (await client.get("/v1/cluster", headers=known)).json() == {"nodes": [], "topologies": {}}


async def test_a_reader_that_does_not_take_gzip_gets_the_same_in_plain() -> None:
    ledger = ledger_of(node("n", plain(4)))
    async with client_of(create_app(Service(ledger))) as client:
        packed = await client.get("/v1/cluster")
        plain_answer = await client.get("/v1/cluster", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain_answer.headers
    assert packed.json() == plain_answer.json() == orjson.loads(orjson.dumps(overview_of(ledger)))


async def test_other_work_has_its_turn_while_an_overview_is_made() -> None:
    count = 8 * NODES_AT_A_TIME
    ledger = ledger_of(*published_nodes(count))
    answers, turns = OverviewAnswers(ledger), 0
    making = asyncio.ensure_future(answers.answer())
    while not making.done():
        turns += 1
        ledger.apply_pod(pod(f"p{turns}", 1, on=ledger.nodes[-1]))
        await asyncio.sleep(0)
    assert turns >= count // NODES_AT_A_TIME
    assert len(orjson.loads(making.result().json)["nodes"]) == count
    assert making.result().tag != answers.tag


async def test_all_who_ask_at_once_get_one_overview() -> None:
    answers = OverviewAnswers(ledger_of(*published_nodes(2 * NODES_AT_A_TIME)))
    first, second = await asyncio.gather(answers.answer(), answers.answer())
    assert first is second


async def test_a_cluster_that_is_not_listed_yet_is_not_shown() -> None:
    service = Service(Ledger(), waiting_for=lambda: "the list of nodes")
    async with client_of(create_app(service)) as client:
        answer = await client.get("/v1/cluster")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the extender is still waiting for the list of nodes")


async def test_pods_are_told_with_what_was_answered_about_them_last() -> None:
    ledger = ledger_of(node("n", plain(4)))
    async with client_of(create_app(Service(ledger))) as client:
        await ask(client, pod("waits", 8))
        await ask(client, pod("bound", 2))
        await ask(client, pod("odd", 2, require="the moon"))
        ledger.apply_pod(pod("bound", 2, on="n"))
        odd, bound, waits = (await client.get("/v1/pods")).json()["pods"]
    assert (bound["pod"], bound["bound_to"]) == ("team/bound", "n")
    assert (waits["bound_to"], waits["last_filter"]["refused"]) == (None, {"too-few-free": 1})
    assert waits["asks_for"]["gpus"] == 8
    assert odd["problem"].startswith("gpu-scheduler/require is 'the moon'")
    assert (odd["asked_at"], odd["last_filter"]) == (None, None)


async def ask(client: httpx.AsyncClient, asking: dict[str, Any]) -> None:
    await client.post("/filter", json={"Pod": asking, "NodeNames": ["n"]})
