"""The vendor's choice, against its description and brute force; `tests/vendor_allocation` has the real library."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.errors import PlacementError
from gpu_topology.links import PcieAncestor
from gpu_topology.placement.masks import gpus_of, mask_of
from gpu_topology.placement.vendor import (
    Scores,
    VendorCrash,
    highest_vendor_scores,
    pick,
    predict,
    vendor_scores,
)
from gpu_topology.topology import Gpu, NodeTopology
from tests.gpu_topology.strategies import topologies
from tests.vendor_allocation.machines import DGX_1V, FOUR_BRIDGES, HGX_A100, UNEVEN_BRIDGES

EVERY_GPU = 0b11111111


def pair(
    ancestor: PcieAncestor | None, nvlinks: int = 0, *, nvswitch: bool | None = False, nvlinks_complete: bool = True
) -> NodeTopology:
    """Two GPUs."""
    return NodeTopology(
        gpus=(Gpu(), Gpu()),
        pcie=((None, ancestor), (ancestor, None)),
        nvlinks=((0, nvlinks), (nvlinks, 0)),
        nvswitch=nvswitch,
        nvlinks_complete=nvlinks_complete,
    )


def matrix(size: int, pairs: dict[tuple[int, int], int], *, other: int = 10) -> Scores:
    """Scores of these pairs, and the same score for all others."""
    return tuple(
        tuple(
            0 if first == second else pairs.get((min(first, second), max(first, second)), other)
            for second in range(size)
        )
        for first in range(size)
    )


@st.composite
def score_matrices(draw: st.DrawFn, max_gpus: int = 5) -> Scores:
    """Scores of few values, which makes ties common; three pairs of 10 tie with one of 30."""
    size = draw(st.integers(1, max_gpus))
    value = st.sampled_from(draw(st.sampled_from([[10, 30], [10, 10, 10, 50, 110], [0, 10], [10, 20, 110, 210]])))
    return matrix(size, {pair: draw(value) for pair in combinations(range(size), 2)})


def outcomes_of_all_orders(scores: Scores, gpus: Sequence[int], size: int) -> tuple[set[int], bool]:
    """The sets that `pick` gives over all orders, and whether some order crashes."""
    picked, crashed = set(), False
    for order in permutations(gpus):
        try:
            picked.add(mask_of(pick(scores, order, size)))
        except VendorCrash:
            crashed = True
    return picked, crashed


def set_score(scores: Scores, gpus: int) -> int:
    """The sum over the pairs of a set."""
    return sum(scores[first][second] for first, second in combinations(gpus_of(gpus), 2))


class TestScores:
    @pytest.mark.parametrize(
        ("ancestor", "nvlinks", "score"),
        [
            ("SYS", 0, 10),
            ("NODE", 0, 20),
            ("PHB", 0, 30),
            ("PXB", 0, 40),
            ("PIX", 0, 50),
            ("PSB", 0, 60),
            ("SYS", 1, 110),
            ("PIX", 2, 250),
            ("NODE", 18, 1820),
            ("NODE", 24, 1820),
        ],
    )
    def test_a_pair_scores_its_ancestor_and_its_nvlinks(self, ancestor: str, nvlinks: int, score: int) -> None:
        topology = pair(PcieAncestor[ancestor], nvlinks)

        assert vendor_scores(topology) == highest_vendor_scores(topology) == ((0, score), (score, 0))

    def test_behind_an_nvswitch_only_the_ancestor_counts(self) -> None:
        assert vendor_scores(pair(PcieAncestor.PXB, 12, nvswitch=True))[0][1] == 40
        assert highest_vendor_scores(HGX_A100) == vendor_scores(HGX_A100)
        assert max(map(max, vendor_scores(HGX_A100))) == 40

    @pytest.mark.parametrize(
        ("topology", "lowest", "highest"),
        [
            (pair(None, 2), 210, 260),
            (pair(None, 0), 10, 60),
            (pair(PcieAncestor.PIX, 4, nvswitch=None), 50, 450),
            (pair(None, 4, nvswitch=None), 10, 460),
            (pair(None, 12, nvswitch=True), 10, 60),
            (pair(PcieAncestor.PHB, 0, nvlinks_complete=False), 30, 1830),
            (pair(PcieAncestor.PHB, 0, nvlinks_complete=False, nvswitch=True), 30, 30),
        ],
    )
    def test_what_is_unknown_spans_all_that_it_can_be(self, topology: NodeTopology, lowest: int, highest: int) -> None:
        assert vendor_scores(topology)[0][1] == lowest
        assert highest_vendor_scores(topology)[0][1] == highest

    @given(topologies())
    def test_any_topology_has_scores_from_the_least_to_the_most(self, topology: NodeTopology) -> None:
        lowest, highest = vendor_scores(topology), highest_vendor_scores(topology)

        assert all(lowest[first][first] == highest[first][first] == 0 for first in range(len(topology)))
        assert all(
            10 <= lowest[first][second] == lowest[second][first] <= highest[first][second] == highest[second][first]
            for first, second in topology.pairs()
        )


class TestPick:
    def test_one_gpu_is_the_first_listed(self) -> None:
        assert pick(vendor_scores(DGX_1V), [5, 2, 7], 1) == (5,)
        assert pick(vendor_scores(DGX_1V), [5, 2, 7], 1, required=[7]) == (7,)

    def test_four_of_a_free_dgx_1v_are_one_socket(self) -> None:
        assert pick(vendor_scores(DGX_1V), range(8), 4) == (0, 1, 2, 3)
        assert pick(vendor_scores(DGX_1V), range(7, -1, -1), 4) == (7, 6, 5, 4)

    def test_the_first_listed_wins_a_tie(self) -> None:
        scores = vendor_scores(FOUR_BRIDGES)

        assert pick(scores, range(8), 2) == (0, 1)
        assert pick(scores, [6, 0, 1, 7], 2) == (6, 7)

    def test_the_best_partition_can_hold_less_than_the_best_set(self) -> None:
        """Pairs 0-1 and 2-3 beat the best pair, 1-2, with what it leaves."""
        scores = matrix(4, {(0, 1): 100, (2, 3): 100, (1, 2): 150})

        assert pick(scores, range(4), 2) == (0, 1)

    def test_required_gpus_are_in_the_set(self) -> None:
        scores = vendor_scores(FOUR_BRIDGES)

        assert pick(scores, range(8), 2, required=[5]) == (4, 5)
        assert set(pick(scores, range(8), 2, required=[6, 1])) == {1, 6}

    @pytest.mark.parametrize(
        ("order", "size", "required"),
        [
            ([0, 1], 0, []),
            ([0, 1], -1, []),
            ([0, 1], 3, []),
            ([0, 1, 2], 2, [0, 1, 2]),
            ([0, 1, 2], 2, [5]),
            ([], 1, []),
        ],
    )
    def test_where_the_library_has_no_answer_the_set_is_empty(
        self, order: list[int], size: int, required: list[int]
    ) -> None:
        assert pick(vendor_scores(DGX_1V), order, size, required) == ()

    def test_a_set_that_is_not_full_crashes_the_plugin_when_it_wins(self) -> None:
        """Pair 0-1 outscores the three others; which of the equal partitions is met first depends on the order."""
        scores = matrix(5, {(0, 1): 410})

        assert pick(scores, [0, 1, 2, 3, 4], 3) == (0, 1, 2)
        with pytest.raises(VendorCrash, match="not full"):
            pick(scores, [2, 3, 4, 0, 1], 3)

    def test_of_seven_pairs_a_later_partition_overwrites_the_best(self) -> None:
        """The only good pair is at places 10 and 11, of which the library forgets that it found them."""
        assert pick(matrix(14, {(10, 11): 110}), range(14), 2) == (0, 1)
        assert pick(matrix(12, {(10, 11): 110}), range(12), 2) == (10, 11)


class TestPredict:
    def test_any_one_gpu_may_be_picked(self) -> None:
        prediction = predict(vendor_scores(DGX_1V), 0b10010100, 1)

        assert (prediction.outcomes, prediction.scores) == ((0b100, 0b10000, 0b10000000), (0,))

    def test_four_of_a_free_dgx_1v_are_either_socket(self) -> None:
        prediction = predict(vendor_scores(DGX_1V), EVERY_GPU, 4)

        assert prediction.outcomes == (0b00001111, 0b11110000)
        assert prediction.predictable
        assert not prediction.may_crash

    def test_the_score_may_depend_on_the_order_as_well(self) -> None:
        """Equal partitions of a DGX-1V into pairs differ in their best pair."""
        prediction = predict(vendor_scores(DGX_1V), EVERY_GPU, 2)

        assert prediction.scores == (230, 250)

    def test_three_of_five_on_a_bridged_machine_may_crash(self) -> None:
        """A bridge and three GPUs without their partners: 36 of the 120 orders."""
        scores, gpus = vendor_scores(FOUR_BRIDGES), (0, 1, 2, 4, 6)

        assert predict(scores, mask_of(gpus), 3).may_crash
        assert sum(crashes(scores, order, 3) for order in permutations(gpus)) == 36

    def test_where_every_order_crashes_there_is_no_outcome(self) -> None:
        prediction = predict(vendor_scores(UNEVEN_BRIDGES), mask_of([0, 2, 4, 5, 6]), 3)

        assert (prediction.outcomes, prediction.scores, prediction.may_crash) == ((), (), True)
        assert prediction.predictable

    def test_a_set_that_is_not_full_never_comes_first_of_a_tie_with_a_set_that_could_hold_it(self) -> None:
        """Pair 0-1 ties with the three others, but its three sets with one more GPU are equal and always met first."""
        assert not predict(matrix(5, {(0, 1): 30}), 0b11111, 3).may_crash

    def test_a_set_that_is_not_full_may_come_first_of_another_tie(self) -> None:
        """Pair 0-2 ties with 1, 3 and 4, and no other partition is as good."""
        prediction = predict(matrix(5, {(0, 2): 110, (1, 3): 50, (3, 4): 50}), 0b11111, 3)

        assert (prediction.outcomes, prediction.may_crash) == ((mask_of([1, 3, 4]),), True)

    @given(score_matrices(), st.data())
    def test_it_is_what_all_orders_give(self, scores: Scores, data: st.DataObject) -> None:
        size = data.draw(st.integers(1, len(scores)))
        free = data.draw(st.sets(st.sampled_from(range(len(scores))), min_size=size))

        prediction = predict(scores, mask_of(free), size)

        assert prediction.predictable
        assert (set(prediction.outcomes), prediction.may_crash) == outcomes_of_all_orders(scores, sorted(free), size)
        assert list(prediction.outcomes) == sorted(set(prediction.outcomes))
        assert prediction.scores == tuple(sorted({set_score(scores, outcome) for outcome in prediction.outcomes}))

    @given(score_matrices(max_gpus=8), st.data())
    def test_renamed_gpus_give_renamed_sets(self, scores: Scores, data: st.DataObject) -> None:
        names = data.draw(st.permutations(range(len(scores))))
        size = data.draw(st.integers(1, len(scores)))
        everything = (1 << len(scores)) - 1
        renamed = matrix(
            len(scores),
            {
                (min(names[first], names[second]), max(names[first], names[second])): scores[first][second]
                for first, second in combinations(range(len(scores)), 2)
            },
        )

        before, after = predict(scores, everything, size), predict(renamed, everything, size)

        assert {mask_of(names[gpu] for gpu in gpus_of(outcome)) for outcome in before.outcomes} == set(after.outcomes)
        assert (before.scores, before.may_crash) == (after.scores, after.may_crash)

    @pytest.mark.parametrize(("free", "size"), [(0b111, 4), (0b111, 0), (0, 1), (1 << 8, 1), (-1, 1)])
    def test_a_question_without_an_answer_is_refused(self, free: int, size: int) -> None:
        with pytest.raises(PlacementError):
            predict(vendor_scores(DGX_1V), free, size)


class TestDoubt:
    @pytest.mark.parametrize(
        ("count", "size", "why"),
        [
            (13, 2, "7 sets of 2"),
            (16, 3, "22,422,400 partitions"),
            (70, 5, "70 GPUs are more than the 62"),
        ],
    )
    def test_beyond_enumeration_it_says_why(self, count: int, size: int, why: str) -> None:
        prediction = predict(matrix(count, {}), (1 << count) - 1, size)

        assert not prediction.predictable
        assert why in str(prediction.reason)
        assert prediction.may_crash == (count % size != 0)

    def test_beyond_enumeration_every_set_may_be_picked_if_they_can_be_listed(self) -> None:
        free = (1 << 14) - 2
        prediction = predict(matrix(14, {(3, 5): 110}), free, 2)

        assert prediction.outcomes == tuple(sorted(mask_of(pair) for pair in combinations(range(1, 14), 2)))
        assert prediction.scores == (10, 110)
        assert predict(matrix(20, {}), (1 << 20) - 1, 9).outcomes == ()

    def test_eight_of_sixteen_are_within_reach(self) -> None:
        """As on two boards of eight."""
        boards = {pair: 20 for pair in combinations(range(16), 2) if pair[0] // 8 == pair[1] // 8}

        assert predict(matrix(16, boards), (1 << 16) - 1, 8).outcomes == (0x00FF, 0xFF00)

    def test_a_dump_that_hides_ancestors_leaves_doubt_about_which_double_nvlink(self) -> None:
        """Not about whether it is a double one, whatever the ancestors are."""
        dump = as_dumped(DGX_1V)
        prediction = predict(vendor_scores(dump), EVERY_GPU, 2, highest=highest_vendor_scores(dump))

        assert not prediction.predictable
        assert "GPU 0 and GPU 1" in str(prediction.reason)
        assert set(prediction.outcomes) == {mask_of(pair) for pair in DGX_1V.pairs() if links_of(DGX_1V, pair) == 2}

    def test_one_gpu_and_fully_known_pairs_leave_no_doubt(self) -> None:
        dump = as_dumped(FOUR_BRIDGES)
        scores, highest = vendor_scores(dump), highest_vendor_scores(dump)

        assert predict(scores, EVERY_GPU, 1, highest=highest).predictable
        assert predict(scores, 0b01010101, 2, highest=highest).predictable
        assert not predict(scores, 0b11, 2, highest=highest).predictable

    @given(score_matrices(), st.data())
    def test_whatever_the_scores_turn_out_to_be_the_outcome_was_among_the_predicted(
        self, lowest: Scores, data: st.DataObject
    ) -> None:
        size = data.draw(st.integers(1, len(lowest)))
        everything = (1 << len(lowest)) - 1
        rises = {pair: data.draw(st.sampled_from([0, 0, 10, 50])) for pair in combinations(range(len(lowest)), 2)}
        actual = raised(lowest, {pair: data.draw(st.integers(0, rise)) for pair, rise in rises.items()})

        doubtful = predict(lowest, everything, size, highest=raised(lowest, rises))
        certain = predict(actual, everything, size)

        assert set(certain.outcomes) <= set(doubtful.outcomes)
        assert doubtful.may_crash or not certain.may_crash
        assert not doubtful.predictable or certain == doubtful


def crashes(scores: Scores, order: Sequence[int], size: int) -> bool:
    """Whether this order crashes the plugin."""
    try:
        pick(scores, order, size)
    except VendorCrash:
        return True
    return False


def as_dumped(topology: NodeTopology) -> NodeTopology:
    """What `nvidia-smi topo -m` shows: no ancestor where there are NVLinks."""
    places = range(len(topology))
    return replace(
        topology,
        pcie=tuple(
            tuple(None if topology.nvlinks[first][second] else topology.pcie[first][second] for second in places)
            for first in places
        ),
    )


def links_of(topology: NodeTopology, pair: tuple[int, int]) -> int:
    """How many NVLinks join the pair."""
    return topology.nvlinks[pair[0]][pair[1]]


def raised(scores: Scores, rises: dict[tuple[int, int], int]) -> Scores:
    """The scores with these added."""
    return matrix(len(scores), {pair: scores[pair[0]][pair[1]] + rise for pair, rise in rises.items()})
