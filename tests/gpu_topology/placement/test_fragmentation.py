"""Fragmentation of free GPUs."""

import pytest

from gpu_topology.placement import Demand, fragmentation, fragmented

ONES_AND_FOURS = Demand.of({1: 1, 4: 1})


def test_free_gpus_are_fragmented_for_requests_that_are_larger() -> None:
    """Of three free GPUs none serves a request of four, which is half of the demand."""
    assert fragmented(3, ONES_AND_FOURS) == 1.5


def test_the_fragmentation_of_a_cluster_is_a_share_of_its_free_gpus() -> None:
    """Two nodes with three free GPUs each, 3 of 14 of them lost; the node with eight free serves all."""
    assert fragmentation({3: 2, 8: 1, 0: 5}, ONES_AND_FOURS) == pytest.approx(3 / 14)


def test_a_full_cluster_is_not_fragmented() -> None:
    assert fragmentation({0: 9}, ONES_AND_FOURS) == 0
    assert fragmentation({}, ONES_AND_FOURS) == 0
