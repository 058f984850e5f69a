"""The NVLinks of every pair from the ports of every GPU."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from topology_agent.sources.nvlinks import FarEnd, Ports, all_known, links_of_pairs, through_nvswitch

GPUS = 5
ports_of_one = st.builds(
    Ports.of,
    st.lists(st.integers(0, GPUS - 1) | st.sampled_from(FarEnd), max_size=18),
    st.sampled_from([None, "one", "other"]),
)
ports_of_all = st.lists(ports_of_one, min_size=GPUS, max_size=GPUS)


def test_ports_count_what_the_links_lead_to() -> None:
    assert Ports.of([1, FarEnd.SWITCH, 1, FarEnd.UNKNOWN, FarEnd.ELSEWHERE, 2], "one") == Ports(
        Counter({1: 2, 2: 1}), to_switch=1, unknown=1, fabric="one"
    )


@given(ports_of_all)
def test_the_links_of_pairs_are_symmetric_and_join_no_gpu_to_itself(ports: list[Ports]) -> None:
    links = links_of_pairs(ports)
    assert all(links[first][second] == links[second][first] for first in range(GPUS) for second in range(GPUS))
    assert all(links[gpu][gpu] == 0 for gpu in range(GPUS))


@given(ports_of_all)
def test_a_pair_has_no_more_links_than_either_of_its_gpus_says(ports: list[Ports]) -> None:
    links = links_of_pairs(ports)
    for first in range(GPUS):
        for second in range(GPUS):
            assert links[first][second] <= ports[first].to_gpus[second] + ports[first].to_switch


def test_of_an_asymmetric_pair_the_weaker_direction_counts() -> None:
    assert links_of_pairs([Ports.of([1, 1, 1], None), Ports.of([0, 0], None)]) == ((0, 2), (2, 0))


def test_an_nvswitch_does_not_join_gpus_of_different_partitions() -> None:
    here, there, unknown = (Ports.of([FarEnd.SWITCH] * 18, fabric) for fabric in ("here", "there", None))
    assert links_of_pairs([here, there, unknown]) == ((0, 0, 18), (0, 0, 18), (18, 18, 0))


def test_an_nvswitch_is_seen_where_one_link_leads_to_it() -> None:
    assert through_nvswitch([Ports(), Ports.of([FarEnd.SWITCH, FarEnd.UNKNOWN], None)]) is True


def test_links_to_gpus_alone_need_no_nvswitch() -> None:
    assert through_nvswitch([Ports.of([1], None), Ports.of([0], None)]) is False


def test_whether_there_is_an_nvswitch_is_unknown_without_links_or_with_unknown_ones() -> None:
    assert through_nvswitch([Ports(), Ports.of([FarEnd.ELSEWHERE], None)]) is None
    assert through_nvswitch([Ports.of([1], None), Ports.of([0, FarEnd.UNKNOWN], None)]) is None


def test_links_are_all_known_unless_one_is_not() -> None:
    assert all_known([Ports(), Ports.of([0, FarEnd.SWITCH, FarEnd.ELSEWHERE], None)])
    assert not all_known([Ports(), Ports.of([FarEnd.UNKNOWN], None)])
