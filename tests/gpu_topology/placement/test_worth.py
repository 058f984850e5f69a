"""What sets are worth on machines that people know."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.links import PcieAncestor
from gpu_topology.placement import Locality, mask_of, tables_of
from gpu_topology.placement.masks import gpus_of
from gpu_topology.request import Require
from gpu_topology.topology import NodeTopology
from tests.gpu_topology.machines import (
    bridged_pairs,
    dgx_1v,
    machine,
    machines,
    nvswitch_box,
    pcie_box,
    relabelled,
)


def best_bandwidth(topology: NodeTopology, size: int) -> float:
    tables = tables_of(topology)
    return float(tables.bandwidths(tables.candidates(tables.graph.everything, size)).max())


@pytest.mark.parametrize(("size", "gbps"), [(2, 47.8), (3, 23.9), (4, 23.9), (8, 47.8)])
def test_the_best_sets_of_a_dgx_1v(size: int, gbps: float) -> None:
    """Its double links make one ring of eight, and none that is shorter."""
    assert best_bandwidth(dgx_1v(), size) == gbps


def test_the_best_four_of_a_dgx_1v_are_three_double_links_and_a_single_one() -> None:
    tables = tables_of(dgx_1v())
    assert tables.worth(mask_of([0, 1, 2, 3])).ring_sum_gbps == pytest.approx(3 * 47.8 + 23.9)
    fours = tables.candidates(0xFF, 4)
    best = {gpus_of(int(gpus)) for gpus in fours[tables.order(fours) == tables.order(fours).max()]}
    assert best == {(0, 1, 2, 3), (4, 5, 6, 7)}


def test_bridged_cards_are_fast_in_pairs_only() -> None:
    assert best_bandwidth(bridged_pairs(), 2) == pytest.approx(274.8)
    assert best_bandwidth(bridged_pairs(), 3) < 30
    assert best_bandwidth(bridged_pairs(), 4) < 30


def test_pairs_without_peer_access_are_worth_less_and_meet_no_requirement_of_links() -> None:
    """Cards 0 and 1 are bridged, and nobody may use the bridge."""
    bridged = bridged_pairs()
    size = range(len(bridged))
    p2p = tuple(tuple(False if {i, j} == {0, 1} else None for j in size) for i in size)
    tables = tables_of(replace(bridged, p2p=p2p))
    broken, whole = mask_of([0, 1]), mask_of([2, 3])
    assert tables.worth(broken) < tables.worth(mask_of([0, 2])) < tables.worth(whole)
    assert list(tables.meets(Require.NVLINK, np.array([broken, whole]))) == [False, True]
    assert not tables.worth(broken).locality & Locality.PCIE_SWITCH


def test_an_nvswitch_makes_all_sets_of_a_size_equally_fast() -> None:
    tables = tables_of(nvswitch_box())
    for size in range(2, 9):
        sets = [tables.worth(int(gpus)) for gpus in tables.candidates(0xFF, size)]
        assert len({worth[:3] for worth in sets}) == 1


@pytest.mark.parametrize(
    ("gpus", "locality"),
    [
        ((0, 1), Locality.NUMA | Locality.PCIE_SWITCH | Locality.NIC),
        ((2, 3), Locality.NUMA | Locality.PCIE_SWITCH),
        ((0, 2), Locality.NUMA),
        ((3, 4), 0),
        ((0,), 0),
    ],
)
def test_locality_says_what_all_gpus_of_a_set_have_in_common(gpus: tuple[int, ...], locality: int) -> None:
    assert tables_of(pcie_box()).worth(mask_of(gpus)).locality == locality


def test_an_unknown_pcie_ancestor_is_no_common_switch() -> None:
    tables = tables_of(machine(2, pcie=lambda _first, _second: None))
    assert tables.worth(0b11).locality == 0
    assert not tables.meets(Require.NUMA, tables.candidates(0b11, 2)).any()


def test_the_kernel_knows_numa_nodes_better_than_the_pcie_tree() -> None:
    """Several NUMA nodes in one socket: the ancestor is NODE, the nodes differ."""
    tables = tables_of(machine(2, pcie=lambda _first, _second: PcieAncestor.NODE, numa=lambda gpu: gpu))
    assert not tables.meets(Require.NUMA, tables.candidates(0b11, 2)).any()


@settings(max_examples=40, deadline=None)
@given(machines())
def test_the_order_of_sets_is_the_order_of_their_worths(topology: NodeTopology) -> None:
    tables = tables_of(topology)
    sets = range(1 << len(topology))
    order = tables.order(np.array(sets)).tolist()
    by_order = sorted(sets, key=lambda gpus: order[gpus])
    by_worth = sorted(sets, key=tables.worth)
    assert [tables.worth(gpus) for gpus in by_order] == [tables.worth(gpus) for gpus in by_worth]
    assert len(set(order)) == len({tables.worth(gpus) for gpus in sets})


@settings(max_examples=40, deadline=None)
@given(machines(), st.permutations(range(7)))
def test_relabelling_the_gpus_changes_no_worth(topology: NodeTopology, shuffled: list[int]) -> None:
    order = [gpu for gpu in shuffled if gpu < len(topology)]
    before, after = tables_of(topology), tables_of(relabelled(topology, order))
    for gpus in range(1 << len(topology)):
        same = mask_of(new for new, old in enumerate(order) if gpus >> old & 1)
        assert after.worth(same) == before.worth(gpus)
