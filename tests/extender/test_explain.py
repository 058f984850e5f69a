"""What a person is told about a pod that waits."""

from datetime import UTC, datetime
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from extender.app import create_app, create_probes_app
from extender.decisions import Decisions
from extender.filter import filter_nodes
from extender.ledger import Ledger
from extender.pods import PodIdentity
from extender.service import Service
from gpu_topology.request import request_of
from gpu_topology.slices import SlicePool
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, switched
from tests.extender.test_app import client_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def explained(ledger: Ledger, asking: dict[str, Any], names: list[str] | None = None) -> dict[str, Any]:
    """The explanation of a pod once kube-scheduler has asked for these candidates."""
    service = Service(ledger, clock=lambda: NOON)
    service.filter(orjson.dumps({"Pod": asking, "Nodes": None, "NodeNames": names or []}))
    explanation = service.explanation_of("team/trainer")
    assert explanation is not None
    return explanation


def ledger_of(*nodes: dict[str, Any]) -> Ledger:
    """Books of these nodes."""
    ledger = Ledger()
    ledger.replace_nodes(nodes)
    return ledger


def halves(name: str) -> dict[str, Any]:
    """A machine of bridged pairs, one GPU of each pair held."""
    return node(name, bridged(4), held=[holder("a", [0]), holder("b", [2])])


def test_nodes_whose_kubelet_offers_too_few_gpus_could_not_serve_a_pod_whatever_else_is_unknown() -> None:
    """kube-scheduler counts these itself and never asks about them; what a DRA driver has, it counts elsewhere."""
    ledger = ledger_of(bare_node("office", gpus=0), bare_node("silent", gpus=4), bare_node("large", gpus=8))
    found = explained(ledger, pod(gpus=8))
    assert found["short"] == [
        {
            "nodes": 1,
            "examples": [name],
            "kind": "too-few-free",
            "reason": f"the kubelet offers {offered} GPUs, 8 asked for",
        }
        for name, offered in (("silent", 4), ("office", 0))
    ]
    assert [group["examples"] for group in found["able"]] == [["large"]]
    ledger.serve_by_dra("gpu.example")
    assert [group["examples"] for group in explained(ledger, pod(gpus=8))["able"]] == [["large"], ["office"]]


def test_nodes_are_grouped_by_what_stands_in_the_way() -> None:
    """Those that were never asked about too."""
    ledger = ledger_of(
        *(halves(f"half-{number}") for number in range(4)),
        node("full", bridged(4), held=[holder("c", [0, 1, 2, 3])]),
        bare_node("silent"),
    )
    found = explained(ledger, pod(gpus=2, require="nvlink"), ["half-0"])
    assert found["nodes"] == 6
    assert found["able"] == []
    assert found["best"] is None
    assert found["short"] == [
        {"nodes": 1, "examples": ["full"], "kind": "too-few-free", "reason": "0 of 4 GPUs free, 2 asked for"}
    ]
    assert found["refused"] == [
        {
            "nodes": 4,
            "examples": ["half-0", "half-1", "half-2"],
            "kind": "require",
            "reason": "2 of 4 GPUs free, no 2 free GPUs are all linked by NVLink",
        },
        {
            "nodes": 1,
            "examples": ["silent"],
            "kind": "topology-unknown",
            "reason": "topology unknown: the node has no annotation gpu-scheduler/topology",
        },
    ]


def test_the_nodes_that_could_serve_it_are_named_best_first() -> None:
    ledger = ledger_of(node("pairs", bridged(4)), node("switch", switched(8)), bare_node("silent"))
    found = explained(ledger, pod(gpus=2))
    assert [(group["nodes"], group["examples"], group["reason"]) for group in found["able"]] == [
        (1, ["switch"], "would reach 376.2 GB/s"),
        (1, ["pairs"], "would reach 56 GB/s"),
        (1, ["silent"], "only where no other can: the node has no annotation gpu-scheduler/topology"),
    ]
    assert found["best"] == {
        "node": "switch",
        "containers": {"c0": (0, 1)},
        "bandwidth_gbps": 376.2,
        "predictable": True,
    }
    assert found["advice"] == [
        "3 nodes could serve it: if it waits nevertheless, its events say what else is in the way there"
    ]


def test_what_was_asked_for_and_what_was_answered_last_are_told() -> None:
    ledger = ledger_of(halves("half"), node("pairs", bridged(4)))
    found = explained(ledger, pod(gpus=[2, 1], min_bandwidth_gbps="30"), ["half", "pairs"])
    assert found["asks_for"] == {
        "gpus": 3,
        "containers": {"c0": 2, "c1": 1},
        "slices": {},
        "min_bandwidth_gbps": 30.0,
        "require": "any",
        "communication": None,
    }
    assert found["judged_at"] == "2026-01-01T12:00:00+00:00"
    assert found["last_filter"] == {
        "at": "2026-01-01T12:00:00+00:00",
        "candidates": 2,
        "passed": 1,
        "left_out": 0,
        "refused": {"too-few-free": 1},
    }
    assert found["last_prioritize"] is None
    assert found["last_preempt"] is None


def test_the_wish_to_lower_is_named_with_the_figure_that_would_do() -> None:
    ledger = ledger_of(halves("half"))
    advice = explained(ledger, pod(gpus=2, min_bandwidth_gbps="50"))["advice"]
    assert advice[0] == "lower gpu-scheduler/min-bandwidth-gbps to 26.3: half could serve it now"
    assert filter_nodes(ledger, request_of(pod(gpus=2, min_bandwidth_gbps="26.3")), ["half"]).passed == ["half"]


def test_a_requirement_that_stands_in_the_way_alone_is_named_alone() -> None:
    advice = explained(ledger_of(halves("half")), pod(gpus=2, require="nvlink", min_bandwidth_gbps="5"))["advice"]
    assert advice[0] == "leave gpu-scheduler/require out: half could serve it now"


def test_two_wishes_that_stand_in_the_way_together_are_named_together() -> None:
    advice = explained(ledger_of(halves("half")), pod(gpus=2, require="nvlink", min_bandwidth_gbps="50"))["advice"]
    assert advice[0] == (
        "lower gpu-scheduler/min-bandwidth-gbps to 26.3 and leave gpu-scheduler/require out: half could serve it now"
    )


def test_where_counts_suffice_it_is_said_that_priority_does_not_help() -> None:
    advice = explained(ledger_of(halves("half")), pod(gpus=2, require="nvlink"))["advice"]
    assert "wait until other GPUs are free on 1 node, such as half" in advice
    assert any(sentence.startswith("a higher priority does not help on the 1 node") for sentence in advice)


def test_it_is_said_how_many_gpus_are_missing_on_the_nearest_node() -> None:
    ledger = ledger_of(
        node("small", switched(4)),
        node("near", switched(8), held=[holder("a", [0, 1])]),
        node("far", switched(8), held=[holder("b", range(7))]),
    )
    assert explained(ledger, pod(gpus=8))["advice"] == ["wait until 2 more GPUs are free on one node: near has 6"]
    assert explained(ledger, pod(gpus=7))["advice"] == ["wait until 1 more GPU is free on one node: near has 6"]


def test_a_wish_that_no_machine_can_keep_is_said_to_be_hopeless() -> None:
    advice = explained(ledger_of(node("small", switched(4))), pod(gpus=9))["advice"]
    assert advice == ["no node of known topology could serve it, even if it were empty: ask for less"]


def test_nodes_of_which_too_little_is_known_are_pointed_at() -> None:
    advice = explained(ledger_of(bare_node("silent")), pod(gpus=2, require="nvlink"))["advice"]
    assert advice[-1] == "see to the agent on 1 node of which too little is known to promise what it requires"


def test_slices_are_counted_too() -> None:
    slices = (SlicePool("nvidia.com/gpu.shared", 0, 4, 0),)
    asking = pod()
    asking["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu.shared": "1"}}
    found = explained(ledger_of(node("n", plain(2), free=[1], slices=slices)), asking)
    assert found["asks_for"]["slices"] == {"nvidia.com/gpu.shared": 1}
    assert found["short"][0]["reason"] == "0 of 4 nvidia.com/gpu.shared slices free, 1 asked for"
    assert found["advice"] == ["wait until more slices are free on 1 node, such as n"]


def test_a_wish_that_cannot_be_read_is_the_whole_explanation() -> None:
    found = explained(ledger_of(node("n", plain(4))), pod(gpus=2, require="the moon"))
    assert found["problem"].startswith("gpu-scheduler/require is 'the moon'")
    assert (found["able"], found["short"], found["refused"], found["advice"]) == ([], [], [], [])


def test_a_pod_that_is_bound_by_now_is_said_to_be() -> None:
    ledger = ledger_of(node("n", plain(4)))
    ledger.apply_pod(pod(gpus=2, on="n"))
    assert explained(ledger, pod(gpus=2))["bound_to"] == "n"


@given(
    free=st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=6),
    gpus=st.integers(1, 4),
    wish=st.sampled_from([{}, {"require": "nvlink"}, {"min_bandwidth_gbps": "50"}]),
)
def test_every_node_is_in_exactly_one_group(free: list[set[int]], gpus: int, wish: dict[str, Any]) -> None:
    """And what would help is said wherever no node can serve the pod."""
    machines = [node(f"n{number}", bridged(4), free=sorted(each)) for number, each in enumerate(free)]
    found = explained(ledger_of(*machines, bare_node("silent")), pod(gpus=gpus, **wish))
    counted = sum(group["nodes"] for key in ("able", "short", "refused") for group in found[key])
    assert counted == found["nodes"] == len(machines) + 1
    assert found["advice"]


async def test_it_is_served_beside_the_verbs() -> None:
    service = Service(ledger_of(halves("half")))
    request = {"Pod": pod(gpus=2), "Nodes": None, "NodeNames": ["half"]}
    async with client_of(create_app(service)) as client, client_of(create_probes_app(service)) as probes:
        await client.post("/filter", json=request)
        await client.post("/prioritize", json=request)
        found = (await client.get("/v1/explain/team/trainer")).json()
        assert found["able"][0]["examples"] == ["half"]
        assert found["last_prioritize"]["best"] == "half"
        assert (await probes.get("/v1/explain/team/trainer")).status_code == 404


async def test_a_pod_that_was_never_asked_about_is_answered_with_what_that_may_mean() -> None:
    async with client_of(create_app(Service(Ledger()))) as client:
        await client.post("/filter", json={"Pod": pod("without-gpus"), "Nodes": None, "NodeNames": []})
        for name in ("trainer", "without-gpus"):
            answer = await client.get(f"/v1/explain/team/{name}")
            assert answer.status_code == 404
            assert answer.json()["detail"].startswith(f"the extender remembers no question about team/{name}. Either ")


async def test_nothing_is_explained_from_books_that_are_not_complete() -> None:
    service = Service(Ledger(), waiting_for=lambda: "the list of nodes")
    async with client_of(create_app(service)) as client:
        answer = await client.get("/v1/explain/team/trainer")
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "the extender is still waiting for the list of nodes",
    )


def test_only_the_pods_that_were_asked_about_last_are_remembered() -> None:
    decisions = Decisions(limit=2)
    for name in ("a", "b", "a", "c"):
        decisions.about(PodIdentity(f"team/{name}", "uid"))
    assert len(decisions) == 2
    assert [decisions.recall(f"team/{name}") is not None for name in "abc"] == [True, False, True]


def test_a_pod_of_the_same_name_is_another_pod() -> None:
    decisions = Decisions()
    decisions.about(PodIdentity("team/a", "first")).problem = "none of the second's"
    assert decisions.about(PodIdentity("team/a", "second")).problem is None


def test_nothing_is_recalled_of_a_pod_that_was_never_asked_about() -> None:
    assert Decisions().recall("team/trainer") is None
