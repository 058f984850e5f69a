"""Why sets lose."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpu_topology.errors import PlacementError
from gpu_topology.placement import DEFAULT_DEMAND, tables_of
from gpu_topology.request import Communication, Require, Wishes
from gpu_topology.topology import NodeTopology
from gputopo.chosen import choose_set
from gputopo.rivals import Rival, rivals_of
from tests.gpu_topology.strategies import topologies
from topology_agent.profiles import load_machine

EVERY_KIND = 10_000


def rivals(machine: str, gpus: int, wishes: Wishes = Wishes(), free: int = 0xFF) -> list[Rival]:  # noqa: B008 - immutable
    """All rivals of the chosen set."""
    tables = tables_of(load_machine(machine))
    return rivals_of(choose_set(tables, free, gpus, wishes), tables, free, wishes, EVERY_KIND)


def reasons(found: list[Rival]) -> set[str]:
    """What stands before the first colon of each reason."""
    return {rival.reason.split(":")[0] for rival in found}


def test_of_equal_pairs_the_lowest_numbers_come_first() -> None:
    first = rivals("bridged-pairs-8", 2)[0]

    assert first.reason == "as good: the lowest numbers come first"
    assert first.alike == 3


def test_a_slower_set_loses_because_it_is_slower() -> None:
    slower = next(rival for rival in rivals("dgx-1v", 2) if rival.worth.bandwidth_gbps == 23.9)

    assert slower.reason == "slower: 23.9 GB/s, not 47.8 GB/s"


def test_where_all_links_are_alike_nearness_and_the_leftover_decide() -> None:
    assert {"farther apart", "as good"} <= reasons(rivals("hgx-h100", 2))


def test_a_pod_that_does_not_communicate_is_told_what_the_others_would_leave() -> None:
    quiet = rivals("dgx-1v", 2, Wishes(communication=Communication.NONE), free=0b0110_0111)

    assert "leaves less" in reasons(quiet)


def test_sets_that_break_a_wish_come_last_and_say_which() -> None:
    found = rivals("dgx-1v", 2, Wishes(require=Require.NVLINK, min_bandwidth_gbps=40))

    broken = [rival.allowed for rival in found].index(False)
    assert not any(rival.allowed for rival in found[broken:])
    assert {"too slow", "not all linked by NVLink"} == reasons(found[broken:])


def test_light_communication_refuses_what_is_far_too_slow() -> None:
    assert "too slow even for light communication" in reasons(
        rivals("dgx-1v", 2, Wishes(communication=Communication.LIGHT))
    )


@pytest.mark.parametrize("machine", ["dgx-1v", "hgx-h100", "pcie-8"])
@pytest.mark.parametrize("gpus", [1, 2, 3, 4])
def test_every_set_is_counted_once(machine: str, gpus: int) -> None:
    tables = tables_of(load_machine(machine))

    assert 1 + sum(rival.alike for rival in rivals(machine, gpus)) == len(tables.candidates(0xFF, gpus))


@given(
    topologies(max_gpus=5),
    st.integers(1, 4),
    st.sampled_from(Communication),
    st.sampled_from(Require),
)
def test_no_rival_is_better_than_the_chosen_set(
    topology: NodeTopology, gpus: int, communication: Communication, require: Require
) -> None:
    """The reasons are found apart from the choice: this holds the two together."""
    tables, wishes = tables_of(topology), Wishes(require=require, communication=communication)
    free = tables.graph.everything
    try:
        chosen = choose_set(tables, free, gpus, wishes)
    except PlacementError:
        assume(False)
    for rival in rivals_of(chosen, tables, free, wishes, EVERY_KIND):
        if not rival.allowed:
            continue
        heavy = communication is Communication.HEAVY
        left = tables.leftover(free & ~chosen.mask, DEFAULT_DEMAND)
        ours = (chosen.worth, left) if heavy else (left, chosen.worth)
        theirs = (rival.worth, rival.left) if heavy else (rival.left, rival.worth)
        assert theirs <= ours
        assert (theirs == ours) == rival.reason.startswith("as good")
        if theirs == ours:
            assert chosen.mask < rival.mask
