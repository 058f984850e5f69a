"""The prediction against NVIDIA's own library, go-gpuallocator, on machines that we describe.

Only NVML is ours: the library finds the links by itself, scores them and picks.
"""

import random
from collections.abc import Iterator
from itertools import combinations

import pytest

from gpu_topology.placement.masks import gpus_of, mask_of
from gpu_topology.placement.vendor import Scores, VendorCrash, pick, predict, vendor_scores
from gpu_topology.topology import NodeTopology
from tests.vendor_allocation.library import VendorLibrary
from tests.vendor_allocation.machines import DGX_1V, MACHINES, machine

SHUFFLES = 200
POINTS = {
    "P2PLinkCrossCPU": 10,
    "P2PLinkSameCPU": 20,
    "P2PLinkHostBridge": 30,
    "P2PLinkMultiSwitch": 40,
    "P2PLinkSingleSwitch": 50,
    "P2PLinkSameBoard": 60,
    "SingleNVLINKLink": 100,
    "TwoNVLINKLinks": 200,
    "FourNVLINKLinks": 400,
    "SixNVLINKLinks": 600,
    "EightNVLINKLinks": 800,
    "TwelveNVLINKLinks": 1200,
}

each_large_machine = pytest.mark.parametrize(
    "topology", [pytest.param(topology, id=name) for name, topology in MACHINES.items() if len(topology) > 6]
)
each_machine = pytest.mark.parametrize("topology", MACHINES.values(), ids=MACHINES.keys())


@each_machine
def test_pairs_score_as_the_links_that_the_library_finds(library: VendorLibrary, topology: NodeTopology) -> None:
    """In particular none of the NVLinks that end at an NVSwitch."""
    found = library.discover(topology)

    points = tuple(tuple(sum(POINTS[link] for link in links or ()) for links in row) for row in found)
    assert points == vendor_scores(topology)


@each_machine
def test_up_to_six_free_gpus_the_prediction_is_what_all_orders_give(
    library: VendorLibrary, topology: NodeTopology
) -> None:
    """For every set of free GPUs and every size: the same sets, the same crashes, no more and no less."""
    library.discover(topology)
    scores = vendor_scores(topology)

    for gpus, size in questions(len(topology), range(1, 7)):
        answer = library.allocate_in_all_orders(gpus, size)
        prediction = predict(scores, mask_of(gpus), size)

        assert prediction.predictable
        assert (gpus, size, prediction.outcomes, prediction.may_crash) == (
            gpus, size, answer.outcomes, answer.may_crash
        )  # fmt: skip
        assert prediction.scores == tuple(sorted({set_score(scores, outcome) for outcome in answer.outcomes}))


@each_large_machine
def test_above_six_free_gpus_every_shuffled_order_gives_a_predicted_set(
    library: VendorLibrary, topology: NodeTopology
) -> None:
    """All orders would be 40,320 for each size."""
    library.discover(topology)
    scores = vendor_scores(topology)

    for gpus, size in questions(len(topology), range(7, len(topology) + 1)):
        answer = library.allocate_shuffled(gpus, size, SHUFFLES)
        prediction = predict(scores, mask_of(gpus), size)

        assert prediction.predictable
        assert set(answer.outcomes) <= set(prediction.outcomes), (gpus, size)
        assert prediction.may_crash or not answer.may_crash, (gpus, size)


@each_machine
def test_one_listed_order_gives_the_same_set_with_and_without_required_gpus(
    library: VendorLibrary, topology: NodeTopology
) -> None:
    """What the simulator relies on; more are required at times than can be had."""
    library.discover(topology)
    scores = vendor_scores(topology)
    chance = random.Random(0)

    for gpus, size in questions(len(topology), range(1, len(topology) + 1)):
        order = chance.sample(gpus, len(gpus))
        required = chance.sample(gpus, chance.randint(0, min(size + 1, len(gpus))))

        assert_same_pick(library, scores, order, size, required)
        assert_same_pick(library, scores, order, size, [])


def test_a_required_gpu_that_is_not_free_gives_an_empty_set(library: VendorLibrary) -> None:
    """The kubelet never asks so; the library has an answer all the same."""
    library.discover(DGX_1V)

    assert_same_pick(library, vendor_scores(DGX_1V), [0, 1, 2, 3], 2, [5])
    assert pick(vendor_scores(DGX_1V), [0, 1, 2, 3], 2, [5]) == ()


@pytest.mark.parametrize("seed", range(20))
def test_random_machines_agree_in_all_orders_of_five(library: VendorLibrary, seed: int) -> None:
    """Few kinds of links in no order make the ties, and the crashes, that real machines seldom show."""
    topology = random_machine(random.Random(seed), 5)
    library.discover(topology)
    scores = vendor_scores(topology)

    for gpus, size in questions(5, range(2, 6)):
        answer = library.allocate_in_all_orders(gpus, size)
        prediction = predict(scores, mask_of(gpus), size)

        assert (gpus, size, answer.outcomes, answer.may_crash) == (
            gpus, size, prediction.outcomes, prediction.may_crash
        )  # fmt: skip


@pytest.mark.parametrize("count", [10, 13, 14])
def test_random_machines_agree_on_pairs_of_many_gpus(library: VendorLibrary, count: int) -> None:
    """From thirteen free GPUs on the library overwrites its best partition of pairs, and so must we."""
    chance = random.Random(count)
    topology = random_machine(chance, count)
    library.discover(topology)

    assert_same_pick(library, vendor_scores(topology), chance.sample(range(count), count), 2, [])


def test_of_seven_pairs_the_library_forgets_the_best(library: VendorLibrary) -> None:
    """The only NVLink stands among the last four GPUs: later partitions with the same five pairs overwrite it."""
    topology = machine("\n".join(" ".join(["SYS"] * pairs) for pairs in range(13, 0, -1)), {(10, 11): 1})
    library.discover(topology)

    assert pick(vendor_scores(topology), range(14), 2) == (0, 1)
    assert_same_pick(library, vendor_scores(topology), list(range(14)), 2, [])


def assert_same_pick(library: VendorLibrary, scores: Scores, order: list[int], size: int, required: list[int]) -> None:
    """Ours and the library's answer are the same set, or both are a crash."""
    answer = library.allocate(order, size, required)
    ours: tuple[int, ...] = ()
    try:
        ours, crashed = (mask_of(pick(scores, order, size, required)),), False
    except VendorCrash:
        crashed = True
    assert (order, size, required, ours, crashed) == (order, size, required, answer.outcomes, answer.may_crash)


def questions(node_size: int, counts: range) -> Iterator[tuple[list[int], int]]:
    """Every set of free GPUs of these counts, with every size that can be asked of it."""
    for count in counts:
        for gpus in combinations(range(node_size), count):
            for size in range(1, count + 1):
                yield list(gpus), size


def random_machine(chance: random.Random, size: int) -> NodeTopology:
    """A machine without any plan, of links that tie often: one pair over PHB scores as much as three over SYS."""
    triangle = "\n".join(
        " ".join(chance.choices(["SYS", "PHB"], weights=[3, 1], k=pairs)) for pairs in range(size - 1, 0, -1)
    )
    return machine(triangle, {pair: 1 for pair in combinations(range(size), 2) if chance.random() < 0.1})


def set_score(scores: Scores, gpus: int) -> int:
    """The sum over the pairs of a set, which stands as a bit mask."""
    return sum(scores[first][second] for first, second in combinations(gpus_of(gpus), 2))
