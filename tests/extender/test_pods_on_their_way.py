"""The window between filter and binding: counts are safe, and hard wishes are kept whatever comes of it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.groups import Situation
from extender.ledger import Ledger
from extender.on_their_way import LONGEST_WAY, MOST_PODS, OnTheirWay
from extender.pods import PodIdentity
from extender.promises import MOST_COMING, holds
from extender.service import Service
from gpu_topology.contract import Allocation
from gpu_topology.placement import DEFAULT_DEMAND, gpus_of, mask_of
from gpu_topology.request import ContainerRequest, GpuRequest, request_of
from tests.extender.builders import bridged, holder, node, pod, switched
from topology_agent.profiles import load_machine

PAIR = request_of(pod("pair", 2))
LINKED_PAIR = request_of(pod("pair", 2, require="nvlink"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ledger_of(*nodes: dict[str, Any], pods: Sequence[dict[str, Any]] = ()) -> Ledger:
    ledger = Ledger()
    ledger.replace_nodes(nodes)
    ledger.replace_pods(pods)
    return ledger


class Asking:
    """kube-scheduler, as far as it asks about pods and binds them."""

    def __init__(self, *nodes: dict[str, Any], pods: Sequence[dict[str, Any]] = ()) -> None:
        self.ledger = ledger_of(*nodes, pods=pods)
        self.names = self.ledger.nodes
        self.now = NOW
        self.service = Service(self.ledger, clock=lambda: self.now)

    def filter(self, asked: dict[str, Any]) -> list[str]:
        """The nodes that pass."""
        return list(self.answer(asked)["NodeNames"])

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        body = {"Pod": asked, "NodeNames": self.names}
        return dict(orjson.loads(self.service.filter(orjson.dumps(body))))


# One node of bridged pairs where 0-1 and one of 2-3 are free: the pair that comes first takes the linked one.


def odd_node(**state: Any) -> dict[str, Any]:
    return node("odd", bridged(6), held=[holder("old", [3, 5])], **state)


def test_a_hard_wish_is_not_promised_where_another_pod_may_take_the_only_set_that_keeps_it() -> None:
    """By count there is room for both."""
    asking = Asking(odd_node())
    assert asking.filter(pod("first", 2)) == ["odd"]
    refused = asking.answer(pod("second", 2, require="nvlink"))
    assert refused["NodeNames"] == []
    assert "other pods may be about to take" in refused["FailedAndUnresolvableNodes"]["odd"]


def test_it_is_promised_elsewhere_meanwhile() -> None:
    """Though the other node is not the best one for it."""
    asking = Asking(odd_node(), node("whole", bridged(4)))
    asking.names = ["odd"]
    asking.filter(pod("first", 2))
    asking.names = ["odd", "whole"]
    assert asking.filter(pod("second", 2, require="nvlink")) == ["whole"]


def test_once_the_other_pod_is_seen_bound_the_books_decide() -> None:
    """It has gone to another node, or it has taken the set: then that is the reason."""
    asking = Asking(odd_node(), node("far", bridged(4)))
    asking.names = ["odd"]
    asking.filter(pod("first", 2))
    asking.ledger.apply_pod(pod("first", 2, on="far"))
    assert asking.filter(pod("second", 2, require="nvlink")) == ["odd"]


def test_a_pod_that_was_bound_and_is_gone_again_is_on_no_way_any_more() -> None:
    """Its GPUs are free, and nothing else would tell those who wait to try again."""
    asking = Asking(odd_node())
    asking.filter(pod("first", 2))
    asking.ledger.apply_pod(pod("first", 2, on="odd"))
    asking.ledger.forget_pod("team/first", "uid-of-first")
    assert asking.filter(pod("second", 2, require="nvlink")) == ["odd"]


def test_the_end_of_a_namesake_says_nothing_of_a_pod_on_its_way() -> None:
    asking = Asking(odd_node())
    asking.filter(pod("first", 2))
    asking.ledger.forget_pod("team/first", "uid-of-an-older-one")
    assert asking.filter(pod("second", 2, require="nvlink")) == []


def test_a_pod_that_was_refused_or_came_back_is_on_no_way_any_more() -> None:
    asking = Asking(odd_node())
    asking.filter(pod("first", 2))
    assert asking.filter(pod("first", 8)) == []
    assert asking.filter(pod("second", 2, require="nvlink")) == ["odd"]


def test_a_pod_does_not_stand_in_its_own_way() -> None:
    """It is tried again after its binding failed."""
    asking = Asking(odd_node())
    wishing = pod("first", 2, require="nvlink")
    assert asking.filter(wishing) == asking.filter(wishing) == ["odd"]


def test_after_a_while_a_pod_is_taken_to_have_gone_nowhere() -> None:
    asking = Asking(odd_node())
    asking.filter(pod("first", 2))
    asking.now += LONGEST_WAY + timedelta(seconds=1)
    assert asking.filter(pod("second", 2, require="nvlink")) == ["odd"]


def test_pods_without_a_hard_wish_do_not_wait() -> None:
    asking = Asking(odd_node())
    assert asking.filter(pod("first", 2)) == asking.filter(pod("second", 2)) == ["odd"]


def test_where_kube_scheduler_counts_no_room_for_both_the_other_is_not_coming() -> None:
    """It would not have asked about the node."""
    asking = Asking(node("n", bridged(4), held=[holder("old", [2, 3])]))
    asking.filter(pod("first", 1))
    assert asking.filter(pod("second", 2, require="nvlink")) == ["n"]


def test_on_a_switched_machine_nobody_waits() -> None:
    """Any set will do."""
    asking = Asking(node("n", switched(8)))
    for number in range(4):
        assert asking.filter(pod(f"p{number}", 2, require="nvlink")) == ["n"]


def test_a_pod_that_the_agent_has_yet_to_show_may_have_any_gpus_of_the_vendors_plugin() -> None:
    """The books guess that it took the pair 4-5, which would leave whole pairs alone."""
    machine = load_machine("bridged-pairs-8")
    others = [holder("old", [0, 2])]
    asking = Asking(node("n", machine, held=others, allocation=Allocation.VENDOR), pods=[pod("first", 2, on="n")])
    wishing = pod("second", 2, min_bandwidth_gbps="45")
    assert "other pods may be about to take" in asking.answer(wishing)["FailedAndUnresolvableNodes"]["n"]
    shown = [*others, holder("first", [4, 5])]
    asking.ledger.apply_node(node("n", machine, held=shown, allocation=Allocation.VENDOR, sequence=2))
    assert asking.filter(wishing) == ["n"]


def test_a_fast_stream_of_hard_wishes_never_breaks_one() -> None:
    """kube-scheduler, whose own counts are always right, binds each pod only after it has asked about four more."""
    names = [f"n{number}" for number in range(6)]
    asking = Asking(*(node(name, bridged(4)) for name in names))
    chosen: list[str] = []
    pods = [pod(f"p{number:02}", 2, require="nvlink") for number in range(2 * len(names))]
    for number, asked in enumerate(pods):
        asking.names = [name for name in names if chosen.count(name) < 2]
        chosen.append(min(asking.filter(asked)))
        if number >= 4:
            asking.ledger.apply_pod(_bound(pods[number - 4], chosen[number - 4]))
    for asked, name in zip(pods, chosen, strict=True):
        asking.ledger.apply_pod(_bound(asked, name))
    for name in names:
        book = asking.ledger.book(name)
        assert book is not None
        assert sorted(book.expected.values()) == [0b0011, 0b1100]


def _bound(asked: dict[str, Any], node_name: str) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "lastTransitionTime": asked["metadata"]["name"]}]
    return asked | {"spec": asked["spec"] | {"nodeName": node_name}, "status": {"conditions": conditions}}


# The rule itself.


@given(
    held=st.sets(st.integers(0, 7), max_size=5),
    waiting=st.integers(0, 2),
    coming=st.lists(st.integers(1, 2), max_size=2),
)
def test_where_the_vendor_chooses_a_promise_holds_for_every_pick(
    held: set[int], waiting: int, coming: list[int]
) -> None:
    """Compared with all that the plugin could do, one pod after the other."""
    name = "n"
    vendor = node(name, bridged(8), held=[holder("old", sorted(held))], allocation=Allocation.VENDOR)
    ledger = ledger_of(vendor, pods=[pod("waiting", waiting, on=name)] if waiting else [])
    book = ledger.book(name)
    assert book is not None
    assert isinstance(book.group, Situation)
    if not holds(book, LINKED_PAIR, [GpuRequest((ContainerRequest("c", size),)) for size in coming]):
        return
    everything = set(range(8)) - held
    arriving = [sum(some) for number in range(len(coming) + 1) for some in combinations(coming, number)]
    for size in {waiting + more for more in arriving if waiting + more + 2 <= len(everything)}:
        for gone in combinations(sorted(everything), size):
            free = mask_of(everything - set(gone))
            after = Situation(book.group.tables, free, book.group.usable, Allocation.VENDOR)
            assert after.assess(LINKED_PAIR, DEFAULT_DEMAND).refusal is None


@given(st.sets(st.integers(0, 7), max_size=6), st.lists(st.integers(1, 3), max_size=MOST_COMING))
def test_where_we_choose_a_promise_holds_after_any_that_come(held: set[int], sizes: list[int]) -> None:
    """Compared with what they are given, one after the other."""
    ledger = ledger_of(node("n", bridged(8), held=[holder("old", sorted(held))]))
    book = ledger.book("n")
    assert book is not None
    assert isinstance(book.group, Situation)
    requests = [GpuRequest((ContainerRequest("c", size),)) for size in sizes]
    promised = holds(book, LINKED_PAIR, requests)
    kept = True
    for number in range(len(sizes) + 1):
        for arrived in combinations(requests, number):
            free = book.group.free
            if sum(request.total for request in arrived) + 2 > free.bit_count():
                continue
            for request in arrived:
                situation = Situation(book.group.tables, free, book.group.usable, Allocation.BEST)
                [(_, gpus)] = situation.assess(request, DEFAULT_DEMAND).containers
                free &= ~mask_of(gpus)
            pairs = [pair for pair in combinations(gpus_of(free), 2) if pair[0] // 2 == pair[1] // 2]
            kept &= bool(pairs)
    assert promised is kept


def test_with_many_coming_a_promise_holds_only_where_any_set_will_do() -> None:
    """Which of them come, and what they are given, are too many cases."""
    many = [PAIR] * (MOST_COMING + 1)
    anywhere, paired = ledger_of(node("n", switched(16))).book("n"), ledger_of(node("n", bridged(16))).book("n")
    assert anywhere is not None
    assert paired is not None
    assert holds(anywhere, LINKED_PAIR, many)
    assert not holds(paired, LINKED_PAIR, many)


@pytest.mark.parametrize("arrived", [True, False])
def test_memory_of_pods_on_their_way_is_bounded(*, arrived: bool) -> None:
    way = OnTheirWay(lambda _: arrived)
    for number in range(MOST_PODS + 10):
        way.sent(PodIdentity(f"team/{number}", ""), PAIR, ["n"], NOW)
    assert len(way.beside(PodIdentity("team/new", ""), NOW)) == (0 if arrived else MOST_PODS)
