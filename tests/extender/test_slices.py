"""Parts of GPUs in the books and in what kube-scheduler is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.account import account_of
from extender.feeds import trimmed_pod
from extender.filter import FilterResult, filter_nodes
from extender.groups import Situation
from extender.ledger import Ledger
from extender.pods import bound_pod_of
from extender.prioritize import prioritize_nodes
from extender.reports import Knowledge
from gpu_topology.request import request_of
from gpu_topology.slices import SliceHolder, SlicePool
from tests.extender.builders import bare_node, holder, node, plain, pod, sliced_pod, switched

SMALL, LARGE, GPU = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb", "nvidia.com/gpu"


def cut(*free: int, resource: str = SMALL, total: int = 7) -> tuple[SlicePool, ...]:
    """The slices of a node whose first GPUs are cut, with so many of each free."""
    return tuple(SlicePool(resource, gpu, total, count) for gpu, count in enumerate(free))


def ledger_of(*nodes: dict[str, Any], pods: tuple[dict[str, Any], ...] = ()) -> Ledger:
    """Books of these nodes and pods."""
    ledger = Ledger()
    ledger.replace_nodes(nodes)
    ledger.replace_pods(pods)
    return ledger


def situation(ledger: Ledger, name: str = "n") -> Situation:
    """The situation of a known node."""
    book = ledger.book(name)
    assert book is not None
    assert isinstance(book.group, Situation)
    return book.group


def free_slices(ledger: Ledger, name: str = "n") -> dict[tuple[str, int | None], int]:
    """Resource and GPU to the number of slices that the books call free."""
    return {(pool.resource, pool.gpu): pool.free for pool in situation(ledger, name).slices or ()}


def filtered(ledger: Ledger, names: list[str], gpus: int = 0, **asked: Any) -> FilterResult:
    """The filter result for a pod."""
    return filter_nodes(ledger, request_of(sliced_pod(gpus=gpus, **asked)), names)


def scores(ledger: Ledger, names: list[str], gpus: int = 0, **asked: Any) -> dict[str, int]:
    """The scores for a pod."""
    scored = prioritize_nodes(ledger, request_of(sliced_pod(gpus=gpus, **asked)), names).scored
    return {name: score for score, equals in scored for name in equals}


NAMES = ["busy", "full", "idle", "old", "silent", "whole"]


@pytest.fixture
def ledger() -> Ledger:
    """Nodes whose GPUs are cut, one whose agent does not count slices, and one without an agent."""
    return ledger_of(
        node("idle", plain(4), slices=cut(7, 7)),
        node("busy", plain(4), slices=cut(7, 1)[1:]),
        node("full", plain(4), slices=cut(0, 0)),
        node("whole", plain(4), slices=()),
        node("old", plain(4)),
        bare_node("silent"),
    )


def test_a_pod_that_asks_for_slices_passes_where_they_are_free_or_not_counted(ledger: Ledger) -> None:
    """The API server's counts have been checked by kube-scheduler itself."""
    result = filtered(ledger, NAMES, slices={SMALL: 1})
    assert result.passed == ["busy", "idle", "old", "silent"]
    assert result.failed == {"full": "0 of 14 nvidia.com/mig-1g.10gb slices free, 1 asked for"}
    assert result.unresolvable == {"whole": "0 of 0 nvidia.com/mig-1g.10gb slices free, 1 asked for"}


def test_slices_are_placed_where_gpus_are_cut_and_in_use_already(ledger: Ledger) -> None:
    assert scores(ledger, NAMES, slices={SMALL: 1}) == {"busy": 10, "idle": 9}


def test_nodes_that_do_not_count_slices_are_refused_only_to_hard_wishes(ledger: Ledger) -> None:
    result = filtered(ledger, ["old", "idle"], slices={SMALL: 1}, require="nvlink")
    assert result.passed == ["idle"]
    assert result.failed == {"old": "topology unknown: the node's agent does not say which parts of GPUs are free"}


def test_on_a_node_with_both_a_pod_gets_whole_gpus_or_slices_as_it_asks() -> None:
    ledger = ledger_of(node("n", switched(8), slices=cut(7, 0)))
    assert filtered(ledger, ["n"], gpus=6).passed == ["n"]
    assert filtered(ledger, ["n"], gpus=6, slices={SMALL: 7}).passed == ["n"]
    assert filtered(ledger, ["n"], slices={SMALL: 8}).failed.keys() == {"n"}
    assert filtered(ledger, ["n"], gpus=7).unresolvable == {
        "n": "6 whole GPUs free, 7 asked for, 2 of 8 are cut or shared"
    }


def test_whole_gpus_are_not_ranked_by_the_slices_beside_them() -> None:
    ledger = ledger_of(node("a", plain(4), slices=cut(7)), node("b", plain(4), slices=cut(1)))
    assert scores(ledger, ["a", "b"], gpus=1) == {"a": 10, "b": 10}


def test_a_pod_that_is_not_in_the_report_yet_is_booked_where_its_slices_would_be_spread() -> None:
    ledger = ledger_of(
        node("n", plain(4), slices=(*cut(6, 4), SlicePool(LARGE, 1, 1, 1))),
        pods=(sliced_pod("infer", 0, on="n", slices={SMALL: 3, LARGE: 1}),),
    )
    assert free_slices(ledger) == {(SMALL, 0): 3, (SMALL, 1): 4, (LARGE, 1): 0}
    assert situation(ledger).free == 0b1100
    book = ledger.book("n")
    assert book is not None
    assert book.expected == {}
    assert book.expected_slices == {"team/infer": {SMALL: 3, LARGE: 1}}


def test_once_the_report_shows_the_slices_of_a_pod_the_report_rules() -> None:
    bound = sliced_pod("infer", 0, on="n", slices={SMALL: 3})
    shown = SliceHolder("team/infer", "c0", SMALL, 1, 2)
    ledger = ledger_of(node("n", plain(4), slices=cut(7, 5), held_slices=(shown,)), pods=(bound,))
    assert free_slices(ledger) == {(SMALL, 0): 6, (SMALL, 1): 5}, "one of three is not shown yet"
    complete = SliceHolder("team/infer", "c0", SMALL, 1, 3)
    ledger.apply_node(node("n", plain(4), slices=cut(7, 4), held_slices=(complete,), sequence=2))
    assert free_slices(ledger) == {(SMALL, 0): 7, (SMALL, 1): 4}


def test_slices_come_back_when_their_pod_is_gone() -> None:
    ledger = ledger_of(node("n", plain(4), slices=cut(7)), pods=(sliced_pod("infer", 0, on="n", slices={SMALL: 3}),))
    ledger.forget_pod("team/infer")
    assert free_slices(ledger) == {(SMALL, 0): 7}


def test_a_pod_with_both_is_booked_for_both() -> None:
    ledger = ledger_of(node("n", plain(4), slices=cut(7)), pods=(sliced_pod("both", 2, on="n", slices={SMALL: 3}),))
    assert situation(ledger).free.bit_count() == 1
    assert free_slices(ledger) == {(SMALL, 0): 4}


def test_a_pod_with_both_is_booked_for_its_gpus_where_the_slices_are_too_few_or_not_counted() -> None:
    both = sliced_pod("both", 2, on="n", slices={SMALL: 9})
    for slices in (cut(3), None):
        ledger = ledger_of(node("n", plain(4), slices=slices), pods=(both,))
        assert situation(ledger).free.bit_count() == (1 if slices else 2)


def test_shared_gpus_under_their_own_name_are_counted_as_slices() -> None:
    """The kubelet then offers more of them than the machine has."""
    shared = node("n", plain(4), slices=cut(10, 10, 10, 6, resource=GPU, total=10))
    shared["status"]["allocatable"][GPU] = "40"
    ledger = ledger_of(shared, pods=(pod("one", 1, on="n"),))
    assert ledger.knowledge() == {Knowledge.KNOWN: 1}
    assert sum(free_slices(ledger).values()) == 35
    assert filtered(ledger, ["n"], gpus=35).passed == ["n"]
    assert filtered(ledger, ["n"], gpus=36).failed == {"n": "35 of 40 nvidia.com/gpu slices free, 36 asked for"}


def test_a_kubelet_that_offers_more_than_gpus_and_slices_is_not_believed() -> None:
    shared = node("n", plain(4), slices=cut(10, 10, resource=GPU, total=10))
    shared["status"]["allocatable"][GPU] = "40"
    assert ledger_of(shared).knowledge() == {Knowledge.BAD_TOPOLOGY: 1}


def test_of_equally_good_nodes_the_one_without_whole_gpus_comes_first() -> None:
    ledger = ledger_of(
        node("cut", plain(4), slices=cut(3, 3, 3, 3)),
        node("mixed", plain(4), slices=cut(3)),
    )
    assert scores(ledger, ["cut", "mixed"], slices={SMALL: 1}) == {"cut": 10, "mixed": 9}


def test_nodes_with_equal_slices_are_one_group() -> None:
    ledger = ledger_of(*(node(name, plain(4), slices=cut(free)) for name, free in (("a", 3), ("b", 3), ("c", 2))))
    assert situation(ledger, "a") is situation(ledger, "b") is not situation(ledger, "c")


def test_a_pod_with_slices_alone_is_kept_and_trimmed_like_the_others() -> None:
    whole = sliced_pod("infer", 0, on="n", slices={SMALL: 1})
    assert bound_pod_of(trimmed_pod(whole)) == bound_pod_of(whole) is not None


def test_the_account_of_a_node_tells_of_its_slices() -> None:
    ledger = ledger_of(
        node("n", plain(4), held=[holder("other", [3])], slices=cut(7)),
        pods=(sliced_pod("infer", 0, on="n", slices={SMALL: 2}),),
    )
    account = account_of(ledger, "n")
    assert account is not None
    assert account["slices"] == [{"resource": SMALL, "gpu": 0, "total": 7, "free": 5}]
    assert account["expected_slices"] == {"team/infer": {SMALL: 2}}
    assert account["usable"] == (1, 2, 3)


@given(st.lists(st.integers(1, 4), max_size=5), st.lists(st.integers(0, 7), max_size=3))
def test_as_many_slices_are_taken_as_pods_ask_for(counts: list[int], free: list[int]) -> None:
    """Or all of them, if fewer are free."""
    pods = tuple(sliced_pod(f"p{index}", 0, on="n", slices={SMALL: count}) for index, count in enumerate(counts))
    ledger = ledger_of(node("n", plain(4), slices=cut(*free)), pods=pods)
    assert sum(free_slices(ledger).values()) == max(sum(free) - sum(counts), 0)
    assert all(count >= 0 for count in free_slices(ledger).values())
