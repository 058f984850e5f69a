"""MAPA's regression, and the best ring by it."""

from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings

from gpu_topology.errors import PlacementError
from gpu_topology.placement.effbw import effective_bandwidth, effective_bandwidths
from gpu_topology.placement.link_graph import link_graph_of
from gpu_topology.placement.masks import gpus_of
from gpu_topology.topology import NodeTopology
from tests.gpu_topology.machines import dgx_1v, machines, nvswitch_box


@pytest.mark.parametrize(("double", "single", "pcie", "gbps"), [(2, 0, 0, 58.925), (0, 0, 2, 10.371)])
def test_a_pair_is_a_ring_that_counts_its_link_twice(double: int, single: int, pcie: int, gbps: float) -> None:
    """Two GPUs with a double NVLink, and without any: worked out by hand."""
    assert effective_bandwidth(double, single, pcie) == pytest.approx(gbps, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(machines(min_gpus=2, max_gpus=6, most_links=2))
def test_every_set_has_the_estimate_of_its_best_ring(topology: NodeTopology) -> None:
    table = effective_bandwidths(link_graph_of(topology))
    for mask in range(1 << len(topology)):
        gpus = gpus_of(mask)
        if len(gpus) > 1:
            assert table[mask] == best_estimate_by_trying_all(topology, gpus)


def best_estimate_by_trying_all(topology: NodeTopology, gpus: tuple[int, ...]) -> float:
    first, *others = gpus
    estimates = []
    for order in permutations(others):
        links = [topology.nvlinks[a][b] for a, b in pairwise((first, *order, first))]
        estimates.append(effective_bandwidth(*(links.count(kind) for kind in (2, 1, 0))))
    return max(estimates)


def test_single_gpus_have_no_bandwidth() -> None:
    assert effective_bandwidths(link_graph_of(dgx_1v()))[0b1] == 0


def test_more_than_double_links_are_refused() -> None:
    with pytest.raises(PlacementError, match="single and double NVLinks only"):
        effective_bandwidths(link_graph_of(nvswitch_box()))
