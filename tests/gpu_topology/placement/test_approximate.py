"""Approximate answers keep the promises that exact ones keep, except being the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.contract import Allocation
from gpu_topology.errors import PlacementError
from gpu_topology.placement import DEFAULT_DEMAND, LinkTables, assess, mask_of, tables_of
from gpu_topology.placement.approximate import ApproximateTables
from gpu_topology.placement.link_graph import link_graph_of
from gpu_topology.placement.worth import WorthModel
from gpu_topology.request import ContainerRequest, GpuRequest, Require, Wishes
from gpu_topology.topology import NodeTopology
from tests.gpu_topology.machines import bridged_pairs, machine, machines, nvswitch_box, pcie_box


def approximate(topology: NodeTopology) -> LinkTables:
    return ApproximateTables(link_graph_of(topology), WorthModel.RING)


def pod(size: int, wishes: Wishes | None = None) -> GpuRequest:
    return GpuRequest((ContainerRequest("main", size),), wishes or Wishes())


@settings(max_examples=40, deadline=None)
@given(machines(max_gpus=6))
def test_it_never_promises_more_than_there_is(topology: NodeTopology) -> None:
    """A ring that was built greedily is at most as good as the best; the rest of the worth is exact."""
    exact, greedy = tables_of(topology), approximate(topology)
    for gpus in range(1 << len(topology)):
        best, built = exact.worth(gpus), greedy.worth(gpus)
        assert built[:2] <= best[:2]
        assert built[2:] == best[2:]
        if gpus.bit_count() <= 3:
            assert built == best


@settings(max_examples=30, deadline=None)
@given(st.integers(9, 32), st.data())
def test_candidates_are_free_and_of_the_right_size(pairs: int, data: st.DataObject) -> None:
    tables = tables_of(bridged_pairs(pairs))
    free = data.draw(st.integers(1, tables.graph.everything))
    wanted = data.draw(st.integers(1, free.bit_count()))
    required = free & -free
    sets = [int(gpus) for gpus in tables.candidates(free, wanted, required)]
    assert sets
    assert sets == sorted(set(sets))
    assert all(gpus.bit_count() == wanted and gpus & ~free == 0 and gpus & required for gpus in sets)


def test_too_few_gpus_have_no_candidates() -> None:
    tables = tables_of(machine(20))
    assert not len(tables.candidates(0b111, 4))
    assert not len(tables.candidates(0b111, 1, required=0b1000))
    assert not len(tables.candidates(0b111, 1, required=0b11))


@settings(max_examples=30, deadline=None)
@given(machines(min_gpus=2), st.data())
def test_taking_gpus_never_raises_the_value(topology: NodeTopology, data: st.DataObject) -> None:
    tables = approximate(topology)
    free = data.draw(st.integers(0, tables.graph.everything))
    fewer = free & data.draw(st.integers(0, tables.graph.everything))
    assert 0 <= tables.leftover(fewer, DEFAULT_DEMAND) <= tables.leftover(free, DEFAULT_DEMAND) <= 1 + 1e-9


def test_sixty_four_gpus_are_served() -> None:
    """The largest machine that the contract knows: the last GPU is the highest bit."""
    tables = tables_of(pcie_box(64))
    assessment = assess(tables, tables.graph.everything, pod(32), Allocation.BEST)
    assert assessment.worth is not None
    assert assessment.worth.locality == 4
    assert assess(tables, 1 << 63, pod(1), Allocation.BEST).containers == (("main", (63,)),)


def test_bridged_cards_are_found_in_pairs() -> None:
    tables = tables_of(bridged_pairs(12))
    assessment = assess(tables, tables.graph.everything & ~0b1, pod(2), Allocation.BEST)
    assert assessment.worth is not None
    assert assessment.worth.bandwidth_gbps == pytest.approx(274.8)
    assert assess(tables, tables.graph.everything & ~0b1, pod(1), Allocation.BEST).containers[0][1] == (1,)


def test_a_large_set_takes_whole_pairs() -> None:
    tables = tables_of(bridged_pairs(12))
    free = tables.graph.everything & ~mask_of([0, 5, 10])
    assessment = assess(tables, free, pod(8), Allocation.BEST)
    gpus = set(assessment.containers[0][1])
    assert all((gpu ^ 1) in gpus for gpu in gpus)


def test_a_numa_node_is_found() -> None:
    wishes = Wishes(require=Require.NUMA)
    assessment = assess(tables_of(pcie_box(32)), (1 << 32) - 2, pod(15, wishes), Allocation.BEST)
    assert assessment.refusal is None


def test_a_refusal_is_never_said_to_be_for_ever() -> None:
    """Another set might do: not all were looked at."""
    assessment = assess(tables_of(pcie_box(32)), (1 << 32) - 1, pod(17, Wishes(require=Require.NUMA)), Allocation.BEST)
    assert assessment.refusal is not None
    assert not assessment.refusal.unresolvable


def test_every_gpu_behind_an_nvswitch_is_linked_alike() -> None:
    tables = tables_of(nvswitch_box(32))
    sets = tables.candidates(tables.graph.everything, 8)
    assert np.unique(tables.bandwidths(sets)).tolist() == [pytest.approx(376.2)]
    assert tables.meets(Require.NVLINK, sets).all()


def test_the_vendors_worst_outcome_is_found_too() -> None:
    tables = tables_of(bridged_pairs(12))
    assessment = assess(tables, 0b1110, pod(1), Allocation.VENDOR)
    assert assessment.containers[0][1] in ((2,), (3,))


def test_more_than_sixty_four_gpus_are_refused() -> None:
    with pytest.raises(PlacementError, match="more than 64 GPUs"):
        tables_of(machine(65))
