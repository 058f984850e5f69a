"""What kube-scheduler is told about candidate nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.filter import FilterResult, filter_nodes
from extender.ledger import Ledger
from extender.prioritize import prioritize_nodes
from gpu_topology.contract import Allocation
from gpu_topology.request import request_of
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, switched

NAMES = ["bridged", "plain", "silent", "switched"]


@pytest.fixture
def ledger() -> Ledger:
    """One machine of each kind, and one that does not report."""
    ledger = Ledger()
    ledger.replace_nodes(
        [node("bridged", bridged(4)), node("plain", plain(4)), bare_node("silent"), node("switched", switched(8))]
    )
    return ledger


def filtered(
    ledger: Ledger, gpus: int, names: list[str] = NAMES, *, limit: int = 0, turn: int = 0, **wishes: str
) -> FilterResult:
    """The filter result for a pod with so many GPUs and these wishes."""
    return filter_nodes(ledger, request_of(pod(gpus=gpus, **wishes)), names, limit=limit, turn=turn)


def scores(ledger: Ledger, gpus: int, names: list[str] = NAMES, **wishes: str) -> dict[str, int]:
    """The scores for a pod with so many GPUs and these wishes."""
    scored = prioritize_nodes(ledger, request_of(pod(gpus=gpus, **wishes)), names).scored
    return {name: score for score, equals in scored for name in equals}


def test_a_pod_without_gpus_passes_everywhere(ledger: Ledger) -> None:
    result = filtered(ledger, 0, [*NAMES, "never-seen"], limit=1)
    assert result.passed == [*NAMES, "never-seen"]
    assert not result.failed
    assert not result.unresolvable


def test_a_pod_without_gpus_prefers_no_node(ledger: Ledger) -> None:
    assert scores(ledger, 0) == {}


def test_better_links_score_higher(ledger: Ledger) -> None:
    found = scores(ledger, 2)
    assert found["switched"] == 10
    assert found["switched"] > found["bridged"] > found.get("plain", 0)


def test_unknown_nodes_pass_behind_the_known_ones_and_score_nothing(ledger: Ledger) -> None:
    """An agent that is missing must not block the cluster."""
    result = filtered(ledger, 2, [*NAMES, "never-seen"])
    assert result.passed == ["switched", "bridged", "plain", "silent", "never-seen"]
    assert not scores(ledger, 2).keys() & {"silent", "never-seen"}


def test_where_all_nodes_are_unknown_all_pass(ledger: Ledger) -> None:
    assert filtered(ledger, 2, ["silent"]).passed == ["silent"]
    assert scores(ledger, 2, ["silent"]) == {}


def test_unknown_nodes_are_refused_to_a_pod_with_a_hard_wish(ledger: Ledger) -> None:
    result = filtered(ledger, 2, min_bandwidth_gbps="100")
    assert result.passed == ["switched"]
    assert result.failed == {"silent": "topology unknown: the node has no annotation gpu-scheduler/topology"}
    assert result.refusals["topology-unknown"] == 1


def test_a_wish_that_the_machine_can_never_keep_is_refused_for_good(ledger: Ledger) -> None:
    """No eviction turns PCIe into NVLink."""
    result = filtered(ledger, 2, require="nvlink")
    assert set(result.passed) == {"bridged", "switched"}
    assert "plain" in result.unresolvable
    assert "plain" not in result.failed


def test_a_refusal_says_how_good_the_best_set_is() -> None:
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(4), held=[holder("other", [0])])])
    result = filtered(ledger, 3, ["n"], min_bandwidth_gbps="100")
    (reason,) = (result.failed | result.unresolvable).values()
    assert "no set of 3 reaches 100 GB/s: the best has " in reason


def test_too_few_free_gpus_are_counted_in_the_reason() -> None:
    ledger = Ledger()
    ledger.replace_nodes([node("n", switched(8), held=[holder("other", [0, 1, 2])], unhealthy={7: "XID 79"})])
    result = filtered(ledger, 6, ["n"])
    assert result.failed == {"n": "4 of 8 GPUs free, 6 asked for, one is unhealthy or cordoned"}
    assert not result.unresolvable


def test_more_gpus_than_the_machine_has_are_refused_for_good(ledger: Ledger) -> None:
    assert filtered(ledger, 64, ["switched"]).unresolvable.keys() == {"switched"}


def test_only_the_best_pass_where_there_is_a_limit(ledger: Ledger) -> None:
    result = filtered(ledger, 2, limit=2)
    assert result.passed == ["switched", "bridged"]
    assert result.left_out == 2
    assert not result.failed
    assert not result.unresolvable


def test_a_pod_for_which_few_nodes_are_feasible_loses_none_to_the_limit(ledger: Ledger) -> None:
    result = filtered(ledger, 2, limit=2, require="nvlink")
    assert set(result.passed) == {"switched", "bridged"}
    assert result.left_out == 0


def test_equal_nodes_take_turns_at_the_limit() -> None:
    ledger = Ledger()
    names = [f"n{index}" for index in range(5)]
    ledger.replace_nodes([node(name, switched(8)) for name in names])
    chosen = [filtered(ledger, 2, names, limit=2, turn=turn).passed for turn in range(5)]
    assert chosen == [["n0", "n1"], ["n1", "n2"], ["n2", "n3"], ["n3", "n4"], ["n4", "n0"]]


def test_equally_good_nodes_of_different_situations_take_turns_too() -> None:
    """Which half of a switched machine is free makes no difference to a pod."""
    ledger = Ledger()
    ledger.replace_nodes([node("low", switched(8), free=[0, 1, 2, 3]), node("high", switched(8), free=[4, 5, 6, 7])])
    chosen = {filtered(ledger, 2, ["low", "high"], limit=1, turn=turn).passed[0] for turn in range(2)}
    assert chosen == {"low", "high"}


@given(limit=st.integers(1, 8), turn=st.integers(0, 2**32), order=st.permutations(NAMES))
def test_the_limit_takes_a_prefix_of_the_ranking(limit: int, turn: int, order: list[str]) -> None:
    ledger = Ledger()
    ledger.replace_nodes([node("bridged", bridged(4)), node("plain", plain(4)), node("switched", switched(8))])
    everything = filtered(ledger, 2, order).passed
    assert filtered(ledger, 2, order, limit=limit, turn=turn).passed == everything[:limit]


def test_a_node_that_leaves_the_choice_to_the_vendor_is_judged_by_the_worst_outcome() -> None:
    """Behind an NVSwitch all outcomes are equal; on bridged pairs the vendor's plugin may break one."""
    ledger = Ledger()
    ledger.replace_nodes(
        [
            node("vendor", bridged(4), free=[0, 1, 2], allocation=Allocation.VENDOR),
            node("ours", bridged(4), free=[0, 1, 2], allocation=Allocation.BEST),
        ]
    )
    found = scores(ledger, 1, ["vendor", "ours"], communication="none")
    assert found["ours"] >= found.get("vendor", 0)


def test_scores_are_from_1_to_10() -> None:
    ledger = Ledger()
    names = [f"n{free}" for free in range(1, 256)]
    ledger.replace_nodes(
        [node(f"n{free}", bridged(8), free=[gpu for gpu in range(8) if free >> gpu & 1]) for free in range(1, 256)]
    )
    found = scores(ledger, 2, names)
    assert set(found.values()) <= set(range(1, 11))
    assert max(found.values()) == 10
