"""Which GPUs each container gets."""

from itertools import combinations, pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.placement import DEFAULT_DEMAND, LinkTables, mask_of, tables_of
from gpu_topology.placement.choose import ContainerShape, Devices, choose, gpus_needed, keeping, pod_worth
from gpu_topology.placement.masks import gpus_of
from gpu_topology.request import Communication, ContainerKind, ContainerRequest, GpuRequest, Require, Wishes
from gpu_topology.topology import NodeTopology
from tests.gpu_topology.machines import bridged_pairs, dgx_1v, machine, machines, nvswitch_box, pcie_box, relabelled

MAIN, INIT, SIDECAR = ContainerKind.MAIN, ContainerKind.INIT, ContainerKind.SIDECAR


def chosen(
    tables: LinkTables, free: int, *sizes: int | tuple[int, ContainerKind], wishes: Wishes | None = None
) -> list[tuple[int, ...]]:
    """The GPUs of each container, main containers unless a kind is given."""
    shapes = [ContainerShape(*size) if isinstance(size, tuple) else ContainerShape(size, MAIN) for size in sizes]
    sets = choose(tables, Devices(free), shapes, wishes or Wishes(), DEFAULT_DEMAND)
    assert sets is not None
    return [gpus_of(gpus) for gpus in sets]


def ring_by_trying_all(topology: NodeTopology, gpus: tuple[int, ...]) -> tuple[float, float, float]:
    """Bottleneck and sum of the best ring, and the sum over pairs, in tenths of GB/s."""
    pairs = sum(round(topology.bandwidth_gbps(a, b) * 10) for a, b in combinations(gpus, 2))
    first, *others = gpus
    links = [
        [round(topology.bandwidth_gbps(a, b) * 10) for a, b in pairwise((first, *order, first))]
        for order in permutations(others)
    ]
    bottleneck, total = max((min(link), sum(link)) for link in links)
    return bottleneck, total, pairs


@settings(max_examples=40, deadline=None)
@given(machines(min_gpus=3, max_gpus=7), st.data())
def test_a_heavy_container_gets_a_free_set_that_no_other_beats(topology: NodeTopology, data: st.DataObject) -> None:
    """Against every free set and every ring through it."""
    tables = tables_of(topology)
    free = data.draw(st.integers(0, tables.graph.everything).filter(lambda mask: mask.bit_count() >= 3))
    size = data.draw(st.integers(3, free.bit_count()))
    (gpus,) = chosen(tables, free, size)
    assert len(gpus) == size
    assert mask_of(gpus) & ~free == 0
    best = max(ring_by_trying_all(topology, others) for others in combinations(gpus_of(free), size))
    assert ring_by_trying_all(topology, gpus) == best


@settings(max_examples=40, deadline=None)
@given(machines(min_gpus=2), st.data())
def test_among_equal_sets_a_heavy_container_gets_one_that_leaves_most(
    topology: NodeTopology, data: st.DataObject
) -> None:
    tables = tables_of(topology)
    free = data.draw(st.integers(0, tables.graph.everything).filter(lambda mask: mask.bit_count() >= 2))
    size = data.draw(st.integers(2, free.bit_count()))
    gpus = mask_of(chosen(tables, free, size)[0])
    for other in tables.candidates(free, size):
        assert tables.worth(int(other)) <= tables.worth(gpus)
        if tables.worth(int(other)) == tables.worth(gpus):
            left, leaves = (tables.leftover(free & ~mask, DEFAULT_DEMAND) for mask in (gpus, int(other)))
            assert left >= leaves


@settings(max_examples=40, deadline=None)
@given(machines(), st.data())
def test_a_container_that_does_not_communicate_leaves_most(topology: NodeTopology, data: st.DataObject) -> None:
    tables = tables_of(topology)
    free = data.draw(st.integers(1, tables.graph.everything))
    size = data.draw(st.integers(1, free.bit_count()))
    (gpus,) = chosen(tables, free, size, wishes=Wishes(communication=Communication.NONE))
    leaves = [tables.leftover(free & ~int(other), DEFAULT_DEMAND) for other in tables.candidates(free, size)]
    assert tables.leftover(free & ~mask_of(gpus), DEFAULT_DEMAND) == max(leaves)


@settings(max_examples=40, deadline=None)
@given(machines(min_gpus=2), st.permutations(range(7)), st.data())
def test_relabelling_the_gpus_gives_a_set_of_equal_worth_and_leftover(
    topology: NodeTopology, shuffled: list[int], data: st.DataObject
) -> None:
    order = [gpu for gpu in shuffled if gpu < len(topology)]
    before, after = tables_of(topology), tables_of(relabelled(topology, order))
    free = data.draw(st.integers(1, before.graph.everything))
    size = data.draw(st.integers(1, free.bit_count()))
    same_free = mask_of(new for new, old in enumerate(order) if free >> old & 1)
    one, other = mask_of(chosen(before, free, size)[0]), mask_of(chosen(after, same_free, size)[0])
    assert after.worth(other) == before.worth(one)
    assert after.leftover(same_free & ~other, DEFAULT_DEMAND) == before.leftover(free & ~one, DEFAULT_DEMAND)


@settings(max_examples=40, deadline=None)
@given(machines(min_gpus=2), st.data())
def test_more_free_gpus_never_make_the_best_set_worse(topology: NodeTopology, data: st.DataObject) -> None:
    tables = tables_of(topology)
    free = data.draw(st.integers(1, tables.graph.everything))
    more = free | data.draw(st.integers(0, tables.graph.everything))
    size = data.draw(st.integers(1, free.bit_count()))
    few, many = (tables.worth(mask_of(chosen(tables, mask, size)[0])) for mask in (free, more))
    if size > 1:
        assert many >= few


def test_a_single_gpu_takes_the_orphan_of_a_broken_pair() -> None:
    assert chosen(tables_of(bridged_pairs()), 0b1111_0111, 1) == [(2,)]
    assert chosen(tables_of(nvswitch_box()), 0b1101_1111, 1) == [(4,)]


def test_a_light_pod_leaves_the_best_pair_if_another_is_half_as_fast() -> None:
    """Of {0,1} at 47.8 and {2,3} at 23.9 GB/s it takes the second; a heavy one takes the first."""
    links = {(0, 1): 2, (2, 3): 1}
    tables = tables_of(machine(4, nvlinks=lambda *pair: links.get(pair, 0), product="Tesla V100"))
    assert chosen(tables, 0b1111, 2, wishes=Wishes(communication=Communication.LIGHT)) == [(2, 3)]
    assert chosen(tables, 0b1111, 2) == [(0, 1)]


def test_containers_get_sets_of_their_own_and_stay_together() -> None:
    """Two pairs of an NVSwitch box come from one socket, so that the other stays whole."""
    first, second = chosen(tables_of(nvswitch_box()), 0xFF, 2, 2)
    assert not set(first) & set(second)
    assert set(first) | set(second) in ({0, 1, 2, 3}, {4, 5, 6, 7})


def test_a_first_container_leaves_the_set_that_a_later_one_needs() -> None:
    assert chosen(tables_of(bridged_pairs()), 0b0000_1110, 1, 2) == [(1,), (2, 3)]


def test_a_main_container_reuses_what_an_init_container_had() -> None:
    assert chosen(tables_of(bridged_pairs()), 0xFF, (2, INIT), 2) == [(0, 1), (0, 1)]


def test_a_small_init_container_gets_gpus_out_of_the_next_ones_best_set() -> None:
    """A single GPU would else take the orphan, and tie the main container to it."""
    init, main = chosen(tables_of(bridged_pairs()), 0b1111_1101, (1, INIT), 2)
    assert set(init) < set(main)
    assert tables_of(bridged_pairs()).worth(mask_of(main)).bandwidth_gbps > 200


def test_a_sidecar_keeps_its_gpus() -> None:
    sidecar, main = chosen(tables_of(bridged_pairs()), 0xFF, (2, SIDECAR), 2)
    assert not set(sidecar) & set(main)


def test_of_a_larger_init_containers_gpus_the_worst_pair_is_counted_on() -> None:
    """The kubelet takes any two of the four."""
    init, main = chosen(tables_of(bridged_pairs()), 0xFF, (4, INIT), 2)
    assert set(main) < set(init)
    assert tables_of(bridged_pairs()).worth(mask_of(main)).bandwidth_gbps < 30


def test_an_earlier_container_gives_way_to_the_wishes_of_a_later_one() -> None:
    """On a line of NVLinks the fastest pair is in the middle, and taking it leaves no linked pair."""
    links = {(0, 1): 1, (1, 2): 2, (2, 3): 1}
    tables = tables_of(machine(4, nvlinks=lambda *pair: links.get(pair, 0), product="Tesla V100"))
    assert chosen(tables, 0b1111, 2, 2, wishes=Wishes(require=Require.NVLINK)) == [(0, 1), (2, 3)]


def test_a_choice_that_cannot_be_made_is_none() -> None:
    tables, pair = tables_of(bridged_pairs(2)), ContainerShape(2, MAIN)
    wishes = Wishes(require=Require.NVLINK)
    assert choose(tables, Devices(0b1101), [pair, ContainerShape(1, MAIN)], wishes, DEFAULT_DEMAND) is not None
    assert choose(tables, Devices(0b0110), [pair], wishes, DEFAULT_DEMAND) is None


@pytest.mark.parametrize("require", [Require.NUMA, Require.PCIE_SWITCH])
def test_hard_wishes_bind_every_pair_and_no_single_gpu(require: Require) -> None:
    tables, wishes = tables_of(pcie_box()), Wishes(require=require)
    pairs = keeping(tables, tables.candidates(0xFF, 2), wishes)
    assert len(pairs) == {Require.NUMA: 12, Require.PCIE_SWITCH: 4}[require]
    assert len(keeping(tables, tables.candidates(0xFF, 1), wishes)) == 8


def test_a_pod_is_worth_its_worst_container_and_the_links_between_all() -> None:
    tables = tables_of(dgx_1v())
    both = pod_worth(tables, [mask_of([0, 3]), mask_of([1, 6])])
    assert both.bandwidth_gbps == tables.worth(mask_of([1, 6])).bandwidth_gbps
    assert both.pair_sum_gbps == tables.worth(mask_of([0, 1, 3, 6])).pair_sum_gbps
    assert pod_worth(tables, [mask_of([0, 3])]) == tables.worth(mask_of([0, 3]))


def test_single_gpus_do_not_make_a_pod_slow() -> None:
    tables = tables_of(dgx_1v())
    assert pod_worth(tables, [mask_of([0, 3]), mask_of([5])]).bandwidth_gbps == pytest.approx(47.8)


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(ContainerKind)), max_size=5))
def test_the_kubelet_takes_as_many_gpus_as_the_scheduler_counts(containers: list[tuple[int, ContainerKind]]) -> None:
    """For the order that pods have: init containers and sidecars first."""
    containers.sort(key=lambda container: container[1] is MAIN)
    request = GpuRequest(tuple(ContainerRequest("", size, kind) for size, kind in containers))
    assert gpus_needed([ContainerShape(size, kind) for size, kind in containers]) == request.total
