"""The arithmetic of the books."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.groups import Group, Situation, Unknown
from extender.ledger import Ledger
from extender.pods import bound_pod_of
from extender.reports import Knowledge
from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION
from gpu_topology.request import request_of
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, switched


def free_gpus(ledger: Ledger, name: str) -> list[int] | None:
    """The GPUs that the books call free; None where the node is unknown."""
    book = ledger.book(name)
    assert book is not None
    if not isinstance(book.group, Situation):
        return None
    return [gpu for gpu in range(64) if book.group.free >> gpu & 1]


def problem(ledger: Ledger, name: str) -> str:
    """Why the books do not know a node."""
    book = ledger.book(name)
    assert book is not None
    assert book.report.problem is not None
    return book.report.problem


def ledger_of(*objects: dict[str, Any]) -> Ledger:
    """Books of these nodes and pods."""
    ledger = Ledger()
    ledger.replace_nodes([obj for obj in objects if "containers" not in obj.get("spec", {})])
    ledger.replace_pods([obj for obj in objects if "containers" in obj.get("spec", {})])
    return ledger


def test_without_pods_the_report_is_what_is_free() -> None:
    assert free_gpus(ledger_of(node("n", plain(4), free=[1, 3])), "n") == [1, 3]


def test_a_pod_that_the_report_does_not_show_yet_is_booked_with_the_set_that_it_would_get() -> None:
    ledger = ledger_of(node("n", bridged(4)), pod("trainer", 2, on="n"))
    book = ledger.book("n")
    assert book is not None
    assert book.expected == {"team/trainer": 0b0011}
    assert free_gpus(ledger, "n") == [2, 3]


def test_pods_are_booked_in_the_order_of_binding() -> None:
    early, late = (
        pod("z", 2, on="n", scheduled_at="2026-01-01T00:00:01Z"),
        pod("a", 2, on="n", scheduled_at="2026-01-01T00:00:02Z"),
    )
    book = ledger_of(node("n", bridged(4)), late, early).book("n")
    assert book is not None
    assert book.expected == {"team/z": 0b0011, "team/a": 0b1100}


def test_once_the_report_shows_a_pod_the_report_rules() -> None:
    ledger = ledger_of(node("n", bridged(4)), pod("trainer", 2, on="n"))
    ledger.apply_node(node("n", bridged(4), held=[holder("trainer", [2, 3])], sequence=2))
    assert free_gpus(ledger, "n") == [0, 1]


def test_a_report_that_is_older_than_a_binding_does_not_undo_it() -> None:
    ledger = ledger_of(node("n", plain(4)), pod("trainer", 2, on="n"))
    ledger.apply_node(node("n", plain(4), held=[holder("other", [3])], sequence=2))
    assert free_gpus(ledger, "n") == [2]


def test_what_the_report_still_shows_as_held_stays_taken_after_its_pod_is_gone() -> None:
    """The record may be gone before the processes are."""
    ledger = ledger_of(node("n", plain(4), held=[holder("trainer", [0, 1])]), pod("trainer", 2, on="n"))
    ledger.forget_pod("team/trainer")
    assert free_gpus(ledger, "n") == [2, 3]
    ledger.apply_node(node("n", plain(4), sequence=2))
    assert free_gpus(ledger, "n") == [0, 1, 2, 3]


def test_an_expected_pod_that_goes_away_gives_its_gpus_back() -> None:
    ledger = ledger_of(node("n", plain(4)), pod("trainer", 3, on="n"))
    ledger.forget_pod("team/trainer")
    assert free_gpus(ledger, "n") == [0, 1, 2, 3]


def test_a_pod_shown_with_fewer_gpus_than_it_asks_for_is_booked_for_the_rest() -> None:
    """The kubelet serves the containers of a pod one by one."""
    ledger = ledger_of(node("n", plain(4), held=[holder("trainer", [3])]), pod("trainer", [1, 2], on="n"))
    assert free_gpus(ledger, "n") == [2]


def test_a_pod_shown_without_any_gpu_is_booked_for_all_of_them() -> None:
    ledger = ledger_of(node("n", plain(4), held=[holder("trainer", [])]), pod("trainer", 3, on="n"))
    assert free_gpus(ledger, "n") == [3]


def test_a_holder_with_another_uid_is_another_pod() -> None:
    """A stateful set's pod comes back under its old name."""
    ledger = ledger_of(
        node("n", plain(4), held=[holder("trainer", [0, 1], uid="old")]), pod("trainer", 2, on="n", uid="new")
    )
    assert free_gpus(ledger, "n") == []


def test_more_pods_than_free_gpus_leave_none() -> None:
    """As while a report still shows a holder that has left."""
    ledger = ledger_of(node("n", plain(4), held=[holder("gone", [0, 1, 2])]), pod("trainer", 4, on="n"))
    assert free_gpus(ledger, "n") == []


def test_a_pod_whose_wishes_its_node_cannot_keep_is_booked_nevertheless() -> None:
    ledger = ledger_of(node("n", plain(4)), pod("trainer", 3, on="n", require="nvlink"))
    assert free_gpus(ledger, "n") == [3]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_holds_nothing(phase: str) -> None:
    ledger = ledger_of(node("n", plain(4)), pod("trainer", 2, on="n"))
    ledger.apply_pod(pod("trainer", 2, on="n", phase=phase))
    assert free_gpus(ledger, "n") == [0, 1, 2, 3]


def test_a_pod_that_is_being_deleted_holds_its_gpus() -> None:
    """Its containers may run until the grace period ends."""
    leaving = pod("trainer", 2, on="n", phase="Running")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert free_gpus(ledger_of(node("n", plain(4)), leaving), "n") == [2, 3]


def test_pods_of_other_schedulers_and_unreadable_wishes_count_too() -> None:
    other = pod("trainer", 1, on="n", require="the moon")
    other["spec"]["schedulerName"] = "default-scheduler"
    assert free_gpus(ledger_of(node("n", plain(4)), other), "n") == [1, 2, 3]


def test_a_pod_without_gpus_or_without_a_node_is_not_kept() -> None:
    assert bound_pod_of(pod("web", 0, on="n")) is None
    assert bound_pod_of(pod("waiting", 4)) is None
    assert ledger_of(node("n", plain(4)), pod("web", 0, on="n"), pod("waiting", 4)).pods_on("n") == []


def test_unhealthy_gpus_are_not_usable() -> None:
    book = ledger_of(node("n", plain(4), unhealthy={2: "XID 79"})).book("n")
    assert book is not None
    assert isinstance(book.group, Situation)
    assert (book.group.usable, book.group.free) == (0b1011, 0b1011)


def test_a_pod_list_replaces_what_was_known_before() -> None:
    ledger = ledger_of(node("n", plain(4)), node("m", plain(4)), pod("a", 1, on="n"), pod("b", 2, on="m"))
    ledger.replace_pods([pod("b", 2, on="m"), pod("c", 3, on="n")])
    assert free_gpus(ledger, "n") == [3]
    assert free_gpus(ledger, "m") == [2, 3]


def test_a_node_list_replaces_what_was_known_before() -> None:
    ledger = ledger_of(node("n", plain(4)), node("m", plain(4)))
    ledger.replace_nodes([node("m", plain(4), free=[0])])
    assert ledger.book("n") is None
    assert free_gpus(ledger, "m") == [0]


def test_a_node_that_comes_back_finds_its_pods_booked() -> None:
    ledger = ledger_of(node("n", plain(4)), pod("trainer", 3, on="n"))
    ledger.forget_node("n")
    ledger.apply_node(node("n", plain(4)))
    assert free_gpus(ledger, "n") == [3]


def test_a_node_nobody_has_announced_is_unknown() -> None:
    (offer,) = Ledger().offers(request_of(pod(gpus=2)), ["n"])
    assert isinstance(offer, Unknown)
    assert offer.problem == "the node has not been announced to the extender"


@pytest.mark.parametrize(
    ("broken", "knowledge", "sentence"),
    [
        (bare_node("n"), Knowledge.NO_TOPOLOGY, "the node has no annotation gpu-scheduler/topology"),
        (bare_node("n", {TOPOLOGY_ANNOTATION: "{"}), Knowledge.BAD_TOPOLOGY, "gpu-scheduler/topology: is not JSON"),
        (bare_node("n", {TOPOLOGY_ANNOTATION: 7}), Knowledge.NO_TOPOLOGY, "the node has no annotation"),
        (node("n", plain(4), stale="the kubelet is away"), Knowledge.STALE_STATE, "stale: the kubelet is away"),
    ],
)
def test_what_is_wrong_with_an_annotation_is_kept_as_a_sentence(
    broken: dict[str, Any], knowledge: Knowledge, sentence: str
) -> None:
    ledger = ledger_of(broken)
    assert free_gpus(ledger, "n") is None
    assert sentence in problem(ledger, "n")
    assert ledger.knowledge() == {knowledge: 1}


def test_a_node_without_a_state_is_unknown() -> None:
    silent = node("n", plain(4))
    del silent["metadata"]["annotations"][STATE_ANNOTATION]
    ledger = ledger_of(silent)
    assert problem(ledger, "n") == "the node has no annotation gpu-scheduler/state"
    assert ledger.knowledge() == {Knowledge.NO_STATE: 1}


def test_a_state_that_speaks_of_another_topology_is_not_believed() -> None:
    mixed = node("n", plain(4))
    mixed["metadata"]["annotations"][STATE_ANNOTATION] = node("n", plain(8))["metadata"]["annotations"][
        STATE_ANNOTATION
    ]
    ledger = ledger_of(mixed)
    assert "speaks of topology" in problem(ledger, "n")
    assert ledger.knowledge() == {Knowledge.BAD_STATE: 1}


def test_a_topology_with_fewer_gpus_than_the_kubelet_offers_is_not_believed() -> None:
    """It is of another machine, or the GPUs are shared replicas."""
    small = node("n", plain(4))
    small["status"]["allocatable"]["nvidia.com/gpu"] = "40"
    ledger = ledger_of(small)
    assert problem(ledger, "n") == "gpu-scheduler/topology describes 4 GPUs, but the kubelet offers 40"


def test_a_repaired_annotation_makes_the_node_known_again() -> None:
    ledger = ledger_of(bare_node("n", {TOPOLOGY_ANNOTATION: "{"}), pod("trainer", 1, on="n"))
    ledger.apply_node(node("n", plain(4)))
    assert free_gpus(ledger, "n") == [1, 2, 3]


def test_an_update_that_changes_nothing_of_ours_keeps_the_page() -> None:
    """Kubelets update their nodes all the time."""
    ledger = ledger_of(node("n", plain(4)))
    before = ledger.book("n")
    ledger.apply_node(node("n", plain(4)))
    assert ledger.book("n") is before


def test_equal_topologies_are_shared() -> None:
    ledger = ledger_of(node("a", switched()), node("b", switched(), free=[0]))
    first, second = ledger.book("a"), ledger.book("b")
    assert first is not None
    assert second is not None
    assert first.report.machine is second.report.machine is not None


def group_of(ledger: Ledger, name: str) -> Group:
    """The group that a node is in."""
    book = ledger.book(name)
    assert book is not None
    return book.group


def test_nodes_in_the_same_situation_are_one_group() -> None:
    ledger = ledger_of(node("a", switched()), node("b", switched()), node("c", switched(), free=[0, 1]))
    assert group_of(ledger, "a") is group_of(ledger, "b") is not group_of(ledger, "c")


def test_nodes_unknown_for_the_same_reason_are_one_group() -> None:
    ledger = ledger_of(bare_node("a"), bare_node("b"))
    assert group_of(ledger, "a") is group_of(ledger, "b")


def test_different_situations_may_offer_a_pod_the_same() -> None:
    """Which half of a switched machine is free makes no difference, how much of it does."""
    halves = node("low", switched(), free=[0, 1, 2, 3]), node("high", switched(), free=[4, 5, 6, 7])
    ledger = ledger_of(*halves, node("whole", switched()))
    offers = ledger.offers(request_of(pod(gpus=2)), ["low", "whole", "high"])
    assert list(offers.values()) == [["low", "high"], ["whole"]]


def test_what_is_expected_of_a_node_follows_the_books() -> None:
    ledger = ledger_of(node("n", bridged(4)), pod("first", 2, on="n"))
    expectation = ledger.expectation(request_of(pod(gpus=2)), "n")
    assert expectation is not None
    assert expectation.containers == (("c0", (2, 3)),)
    assert ledger.expectation(request_of(pod(gpus=2)), "never-seen") is None


OBJECTS = [
    *(node(name, bridged(4), held=held, sequence=sequence) for name in "mn" for sequence, held in enumerate(
        ([], [holder("p0", [0, 1])], [holder("p1", [3])], [holder("p2", [1, 2]), holder("gone", [0])])
    )),
    *(pod(f"p{index}", count, on=name, phase=phase, scheduled_at=f"2026-01-01T00:00:0{index}Z")
      for index, count in enumerate([2, 1, 2]) for name in "mn" for phase in ("Pending", "Failed")),
]  # fmt: skip


@given(st.lists(st.sampled_from(OBJECTS), max_size=12), st.randoms(use_true_random=False))
def test_the_books_depend_on_the_latest_objects_only(events: list[dict[str, Any]], order: random.Random) -> None:
    """However it came to know them, an extender that restarts has the books of the one before it."""
    lived = Ledger()
    latest: dict[tuple[bool, str], dict[str, Any]] = {}
    for event in events:
        is_pod = "containers" in event.get("spec", {})
        latest[is_pod, event["metadata"]["name"]] = event
        if is_pod:
            lived.apply_pod(event)
        else:
            lived.apply_node(event)
    objects = list(latest.values())
    order.shuffle(objects)
    restarted = ledger_of(*objects)
    for is_pod, name in latest:
        if not is_pod:
            assert free_gpus(lived, name) == free_gpus(restarted, name)


@given(st.lists(st.integers(1, 4), max_size=5), st.integers(0, 15))
def test_as_many_gpus_are_taken_as_pods_ask_for(counts: list[int], free: int) -> None:
    """Or all of them, if fewer are free."""
    reported = [gpu for gpu in range(4) if free >> gpu & 1]
    pods = [pod(f"p{index}", count, on="n") for index, count in enumerate(counts)]
    left = free_gpus(ledger_of(node("n", bridged(4), free=reported), *pods), "n")
    assert left is not None
    assert set(left) <= set(reported)
    assert len(left) == max(len(reported) - sum(counts), 0)
