"""The best ring through every set, against all rings."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.placement.masks import gpus_of
from gpu_topology.placement.rings import best_rings


@st.composite
def bandwidths(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(1, 6))
    matrix = np.zeros((size, size), dtype=np.int64)
    for first in range(size):
        for second in range(first):
            matrix[first, second] = matrix[second, first] = draw(st.sampled_from([1, 2, 3, 7]))
    return matrix


def best_ring_by_trying_all(matrix: np.ndarray, gpus: tuple[int, ...]) -> tuple[int, int]:
    first, *others = gpus
    rings = ((first, *order, first) for order in permutations(others))
    links = ([int(matrix[a, b]) for a, b in pairwise(ring)] for ring in rings)
    return max((min(link), sum(link)) for link in links)


@settings(max_examples=60, deadline=None)
@given(bandwidths())
def test_every_set_has_the_best_of_all_its_rings(matrix: np.ndarray) -> None:
    """The slowest link decides, then the sum."""
    bottleneck, total = best_rings(matrix)
    for mask in range(1 << len(matrix)):
        gpus = gpus_of(mask)
        if len(gpus) > 2:
            assert (bottleneck[mask], total[mask]) == best_ring_by_trying_all(matrix, gpus)


@pytest.mark.parametrize("size", [0, 1])
def test_fewer_than_two_gpus_have_no_ring(size: int) -> None:
    bottleneck, total = best_rings(np.zeros((size, size), dtype=np.int64))
    assert not bottleneck.any()
    assert not total.any()


def test_a_ring_of_two_is_their_link_once() -> None:
    bottleneck, total = best_rings(np.array([[0, 5], [5, 0]]))
    assert (bottleneck[0b11], total[0b11]) == (5, 5)


def test_sixteen_gpus_that_are_linked_alike_have_a_ring_of_sixteen_links() -> None:
    bottleneck, total = best_rings(5 - 5 * np.eye(16, dtype=np.int64))
    assert (bottleneck[-1], total[-1]) == (5, 80)
