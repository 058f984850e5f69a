"""How the candidates of one call compare."""

from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.placement import Assessment, Refusal, RefusalKind, SetWorth, merits, rank
from gpu_topology.placement.rank import LEFTOVER_SPAN, MAX_SCORE, WORTH_GAP
from gpu_topology.request import Communication


def candidate(
    gbps: float, leftover: float = 0.0, communication: Communication = Communication.HEAVY, pair_sum: float = 0.0
) -> Assessment:
    worth = SetWorth(gbps, gbps, pair_sum, 0)
    return Assessment(None, worth, leftover, (), predictable=True, communication=communication)


REFUSED = Assessment(
    Refusal(RefusalKind.TOO_FEW_FREE, "0 of 8 GPUs free, 1 asked for", unresolvable=False),
    None,
    0.0,
    (),
    predictable=True,
    communication=Communication.NONE,
)

candidates = st.lists(
    st.tuples(st.sampled_from([13.1, 47.8, 274.8, 376.2]), st.integers(-8, 0), st.sampled_from([0.0, 0.5, 1.0])),
    min_size=1,
    max_size=30,
)


def scores(nodes: list[tuple[float, int, float]]) -> list[int]:
    return rank([candidate(gbps, leftover) for gbps, leftover, _ in nodes], [full for _, _, full in nodes])


@given(candidates)
def test_scores_are_whole_numbers_from_0_to_10_and_the_best_has_10(nodes: list[tuple[float, int, float]]) -> None:
    ranked = scores(nodes)
    assert all(isinstance(score, int) and 0 <= score <= MAX_SCORE for score in ranked)
    assert ranked[nodes.index(max(nodes))] == MAX_SCORE


@given(candidates)
def test_equal_nodes_have_equal_scores_and_a_better_one_never_less(nodes: list[tuple[float, int, float]]) -> None:
    ranked = dict(zip(nodes, scores(nodes), strict=True))
    in_order = [ranked[node] for node in sorted(ranked)]
    assert in_order == sorted(in_order)
    assert [ranked[node] for node in nodes] == scores(nodes)


@given(candidates)
def test_who_gives_less_than_the_best_is_well_below(nodes: list[tuple[float, int, float]]) -> None:
    """Nodes that give the best differ by at most the span, and the gap is between them and the others."""
    best = max(gbps for gbps, _, _ in nodes)
    ranked = list(zip(nodes, scores(nodes), strict=True))
    served_best = [score for (gbps, _, _), score in ranked if gbps == best]
    others = [score for (gbps, _, _), score in ranked if gbps < best]
    assert max(served_best) - min(served_best) <= LEFTOVER_SPAN
    assert min(served_best) - max(others, default=0) >= WORTH_GAP


def test_the_documented_examples() -> None:
    fast = [(376, -4), (376, -5), (376, -6), (376, -8), (274, -4), (274, -8), (48, -4)]
    assert scores([(gbps, leftover, 0.0) for gbps, leftover in fast]) == [10, 9, 8, 8, 3, 3, 2]
    assert scores([(48, -2, 0.0), (24, -2, 0.0), (13, -2, 0.0)]) == [10, 5, 4]
    assert scores([(376, -4, 0.0)] * 3) == [10, 10, 10]


def test_weight_nine_keeps_what_the_documentation_says() -> None:
    """One score point is ten times the extender's weight; the in-tree weights are kube-scheduler's defaults."""
    point = 10 * 9
    preferred_affinity, fit, balance, topology_spread = 200, 100, 100, 200
    assert LEFTOVER_SPAN * point < preferred_affinity
    assert WORTH_GAP * point > fit + balance + topology_spread


def test_many_classes_keep_the_top_ones_apart() -> None:
    ranked = scores([(gbps, 0, 0.0) for gbps in range(20, 0, -1)])
    assert ranked[:7] == [10, 5, 4, 3, 2, 1, 0]
    assert set(ranked[7:]) == {0}


def test_of_equal_worth_and_leftover_the_fuller_node_is_better() -> None:
    assert scores([(376, -4, 0.0), (376, -4, 0.5)]) == [9, 10]


def test_pair_sums_and_locality_count_as_what_the_pod_gets() -> None:
    assert rank([candidate(376, pair_sum=5), candidate(376, pair_sum=4)], [0.0, 1.0]) == [10, 5]


def test_for_a_pod_that_does_not_communicate_only_leftover_and_fullness_count() -> None:
    none = Communication.NONE
    assert rank([candidate(376, -2, none), candidate(13, -1, none)], [0.0, 0.0]) == [9, 10]


def test_for_a_pod_that_communicates_lightly_half_the_bandwidth_is_enough() -> None:
    light = Communication.LIGHT
    nodes = [candidate(376, -2, light), candidate(200, -1, light), candidate(48, -1, light), candidate(0, 0, light)]
    assert rank(nodes, [0.0] * 4) == [9, 10, 4, 3]


def test_refused_nodes_have_0_and_do_not_shift_the_others() -> None:
    assert rank([REFUSED, candidate(48), REFUSED], [1.0, 0.0, 0.0]) == [0, 10, 0]
    assert rank([REFUSED], [0.0]) == [0]


def test_merits_order_what_scores_no_longer_tell_apart() -> None:
    nodes = [candidate(376, -8), candidate(376, -6), REFUSED]
    better, worse, refused = merits([*nodes[1::-1], REFUSED], [0.0] * 3)
    assert refused is None
    assert better is not None
    assert worse is not None
    assert better > worse


def test_no_candidates_no_scores() -> None:
    assert rank([], []) == []
