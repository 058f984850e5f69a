"""What free GPUs are worth to the requests to come."""

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.placement import DEFAULT_DEMAND, Demand, mask_of, tables_of
from gpu_topology.placement.leftover import served_together, usefulness
from gpu_topology.placement.masks import gpus_of, masks_of_size
from gpu_topology.topology import NodeTopology
from tests.gpu_topology.machines import bridged_pairs, dgx_1v, machines, nvswitch_box, relabelled

demands = st.dictionaries(st.integers(1, 9), st.integers(1, 20), min_size=1, max_size=4).map(Demand.of)


@settings(max_examples=60, deadline=None)
@given(machines(), demands, st.data())
def test_taking_gpus_never_raises_the_value(topology: NodeTopology, demand: Demand, data: st.DataObject) -> None:
    tables = tables_of(topology)
    free = data.draw(st.integers(0, tables.graph.everything))
    fewer = free & data.draw(st.integers(0, tables.graph.everything))
    assert 0 <= tables.leftover(fewer, demand) <= tables.leftover(free, demand) <= 1 + 1e-9


@settings(max_examples=40, deadline=None)
@given(machines(), demands, st.permutations(range(7)))
def test_relabelling_the_gpus_changes_no_value(topology: NodeTopology, demand: Demand, shuffled: list[int]) -> None:
    order = [gpu for gpu in shuffled if gpu < len(topology)]
    before, after = tables_of(topology), tables_of(relabelled(topology, order))
    for free in range(1 << len(topology)):
        same = mask_of(new for new, old in enumerate(order) if free >> old & 1)
        assert after.leftover(same, demand) == before.leftover(free, demand)


@given(machines(min_gpus=2), st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_the_whole_machine_is_worth_one_and_nothing_nothing(topology: NodeTopology, size: int) -> None:
    tables, demand = tables_of(topology), Demand.of({size: 1})
    assert tables.leftover(tables.graph.everything, demand) == pytest.approx(1)
    assert tables.leftover(0, demand) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.data())
def test_requests_are_served_together_as_well_as_possible(gpus: int, data: st.DataObject) -> None:
    """Against every way to divide the free GPUs."""
    size = data.draw(st.integers(1, gpus))
    sets = [int(mask) for mask in masks_of_size(gpus, size)]
    useful = [data.draw(st.integers(1, 9)) for _ in sets]

    @cache
    def together(free: int) -> int:
        inside = [(mask, value) for mask, value in zip(sets, useful, strict=True) if mask & ~free == 0]
        return max((value + together(free & ~mask) for mask, value in inside), default=0)

    table = served_together(gpus, size, np.array(useful))
    assert table.tolist() == [together(free) for free in range(1 << gpus)]


def test_a_broken_pair_costs_more_than_an_orphan() -> None:
    tables = tables_of(bridged_pairs())
    free = 0b1111_1110
    assert tables.leftover(free & ~0b10, DEFAULT_DEMAND) > tables.leftover(free & ~0b100, DEFAULT_DEMAND)


def test_behind_an_nvswitch_locality_tells_sets_apart() -> None:
    tables = tables_of(nvswitch_box())
    free = 0b1111_1110
    assert tables.leftover(free & ~0b10, DEFAULT_DEMAND) > tables.leftover(free & ~0b100, DEFAULT_DEMAND)


def test_half_a_dgx_1v_is_worth_most_where_nvlinks_make_a_ring() -> None:
    tables, demand = tables_of(dgx_1v()), Demand.of({4: 1})
    halves = [mask_of(gpus) for gpus in combinations(range(8), 4)]
    best = max(tables.leftover(half, demand) for half in halves)
    assert tables.leftover(0b1111, demand) == best
    assert {tables.worth(half).bandwidth_gbps for half in halves if tables.leftover(half, demand) == best} == {23.9}


def test_requests_larger_than_the_machine_are_left_out() -> None:
    tables = tables_of(bridged_pairs(2))
    assert tables.leftover(0b11, Demand.of({2: 1, 8: 5})) == tables.leftover(0b11, Demand.of({2: 1}))
    assert tables.leftover(0b1111, Demand.of({8: 1})) == 0


def test_a_demand_is_shares_by_size() -> None:
    assert Demand.of({4: 1, 2: 3, 0: 9, 8: 0}).shares == ((2, 0.75), (4, 0.25))
    assert Demand.of({}).shares == ()


def test_the_default_demand_fades_as_requests_are_seen() -> None:
    assert Demand.learnt({}) == DEFAULT_DEMAND
    assert dict(Demand.learnt({3: 100}).shares)[3] == pytest.approx(0.5)
    assert dict(Demand.learnt({3: 100_000}).shares)[3] > 0.99


def test_usefulness_is_served_at_all_and_how_well() -> None:
    fast, slow, nothing = usefulness(np.array([50.0, 25.0, -3.0]), np.array([7, 7, 0])).tolist()
    assert (fast, slow, nothing) == (1_000_000, 662_500, 500_000)


def test_sets_without_any_bandwidth_differ_by_locality_alone() -> None:
    near, far = usefulness(np.array([0.0, 0.0]), np.array([7, 0])).tolist()
    assert near > far


@given(st.integers(0, 1 << 20))
def test_a_mask_and_its_gpus_are_the_same(mask: int) -> None:
    assert mask_of(gpus_of(mask)) == mask
