"""What a pod gets on a node with parts of GPUs, and what taking them costs."""

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.contract import Allocation
from gpu_topology.placement import Assessment, assess, assess_with_slices, rank, split, tables_of, taken
from gpu_topology.placement.slices import idleness
from gpu_topology.request import ContainerRequest, GpuRequest, Require, SliceRequest, Wishes
from gpu_topology.slices import SlicePool
from tests.gpu_topology.machines import nvswitch_box
from tests.gpu_topology.strategies import RESOURCES, slices

TABLES = tables_of(nvswitch_box())
SMALL, LARGE, SHARED, GPU = (
    "nvidia.com/mig-1g.10gb",
    "nvidia.com/mig-3g.40gb",
    "nvidia.com/gpu.shared",
    "nvidia.com/gpu",
)
EVERYTHING = 0b1111_1111


def asking(counts: Mapping[str, int], gpus: int = 0, wishes: Wishes | None = None) -> GpuRequest:
    """The request of a pod with one container."""
    containers = (ContainerRequest("main", gpus),) if gpus else ()
    wanted = tuple(SliceRequest("main", resource, count) for resource, count in counts.items())
    return GpuRequest(containers, wishes or Wishes(), wanted)


def assessed(pools: tuple[SlicePool, ...], request: GpuRequest, free: int = EVERYTHING) -> Assessment:
    """The assessment on a switched machine of eight GPUs."""
    return assess_with_slices(TABLES, free, request, Allocation.BEST, slices=pools)


def message(assessment: Assessment) -> str:
    """Why a pod was refused."""
    assert assessment.refusal is not None
    return assessment.refusal.message


def test_slices_are_refused_where_too_few_are_free() -> None:
    """Eviction helps where there are enough in all."""
    pools = (SlicePool(LARGE, 0, 2, 1), SlicePool(LARGE, 1, 2, 0), SlicePool(SMALL, 0, 1, 1))
    some, many = (assessed(pools, asking({LARGE: count})).refusal for count in (2, 5))
    assert some is not None
    assert many is not None
    assert some.message == "1 of 4 nvidia.com/mig-3g.40gb slices free, 2 asked for"
    assert not some.unresolvable
    assert many.unresolvable


def test_a_resource_that_the_node_does_not_have_is_refused_for_good() -> None:
    """No eviction makes a slice."""
    refusal = assessed((), asking({SMALL: 1})).refusal
    assert refusal is not None
    assert refusal.message == "0 of 0 nvidia.com/mig-1g.10gb slices free, 1 asked for"
    assert refusal.unresolvable


def test_whole_gpus_are_those_that_are_not_cut() -> None:
    """Even where the mask of free GPUs says otherwise."""
    pools = (SlicePool(SMALL, 0, 7, 7), SlicePool(SMALL, 1, 7, 7))
    six, seven = (assessed(pools, asking({}, gpus)) for gpus in (6, 7))
    assert [gpus for _, gpus in six.containers] == [(2, 3, 4, 5, 6, 7)]
    assert message(seven) == "6 whole GPUs free, 7 asked for, 2 of 8 are cut or shared"
    assert seven.refusal is not None
    assert seven.refusal.unresolvable


def test_a_pod_that_asks_for_both_needs_both() -> None:
    """GPUs and slices."""
    pools = (SlicePool(SMALL, 0, 7, 1),)
    both = assessed(pools, asking({SMALL: 1}, 2))
    assert both.refusal is None
    assert both.worth is not None
    assert both.worth.bandwidth_gbps > 0
    assert "slices free" in message(assessed(pools, asking({SMALL: 2}, 2)))
    assert "whole GPUs free" in message(assessed(pools, asking({SMALL: 1}, 8)))


def test_gpus_that_are_shared_under_their_own_name_are_counted_as_slices() -> None:
    """Replicas that are not renamed."""
    pools = tuple(SlicePool(GPU, index, 4, 2) for index in range(8))
    shared = assessed(pools, asking({}, 12))
    assert shared.refusal is None
    assert shared.worth is None
    assert not shared.predictable
    assert message(assessed(pools, asking({}, 17))) == "16 of 32 nvidia.com/gpu slices free, 17 asked for"


def test_where_there_are_whole_gpus_a_request_for_gpus_is_one_for_whole_gpus() -> None:
    """Whatever else goes under their name."""
    pools = (SlicePool(GPU, None, 4, 4),)
    assert split(asking({}, 2), pools, 0b1).slices == {}
    assert split(asking({}, 2), pools, 0b0).slices == {GPU: 2}


@pytest.mark.parametrize("wishes", [Wishes(min_bandwidth_gbps=10), Wishes(require=Require.NVLINK)])
def test_hard_wishes_about_links_are_not_promised_for_slices(wishes: Wishes) -> None:
    """A single slice has no link that could be slow."""
    pools = (SlicePool(SMALL, 0, 7, 7),)
    assert assessed(pools, asking({SMALL: 1}, wishes=wishes)).refusal is None
    assert message(assessed(pools, asking({SMALL: 2}, wishes=wishes))).endswith("slices of GPUs have none")
    replicas = tuple(SlicePool(GPU, index, 4, 4) for index in range(8))
    assert assessed(replicas, asking({}, 1, wishes)).refusal is None
    assert assessed(replicas, asking({}, 2, wishes)).refusal is not None


def test_slices_are_spread_over_gpus() -> None:
    """As the vendor's device plugin does it."""
    pools = (SlicePool(SHARED, 0, 4, 4), SlicePool(SHARED, 1, 4, 2), SlicePool(SMALL, 2, 4, 4))
    assert taken(pools, {SHARED: 4}) == (SlicePool(SHARED, 0, 4, 1), SlicePool(SHARED, 1, 4, 1), pools[2])


def test_nodes_whose_gpus_are_in_use_already_come_first() -> None:
    """So that idle GPUs can be put to another use; what is just enough is best."""
    nodes = {
        "idle": (SlicePool(SMALL, 0, 7, 7), SlicePool(SMALL, 1, 7, 7)),
        "busy": (SlicePool(SMALL, 0, 7, 1), SlicePool(SMALL, 1, 7, 1)),
        "half": (SlicePool(SMALL, 0, 7, 4), SlicePool(SMALL, 1, 7, 3)),
        "full": (SlicePool(SMALL, 0, 7, 0),),
    }
    assessments = [assessed(pools, asking({SMALL: 1})) for pools in nodes.values()]
    scores = dict(zip(nodes, rank(assessments, [0.0] * 4), strict=True))
    assert scores == {"busy": 10, "half": 9, "idle": 8, "full": 0}


def test_of_nodes_with_equal_slices_the_one_with_the_fewest_whole_gpus_comes_first() -> None:
    """By their fullness: it has the least to lose."""
    assessments = [assessed((SlicePool(SMALL, 0, 7, 3),), asking({SMALL: 1}))] * 2
    assert rank(assessments, [0.0, 1.0]) == [9, 10]


@given(slices(), st.dictionaries(st.sampled_from(RESOURCES), st.integers(1, 20)))
def test_as_many_slices_are_taken_as_there_are(pools: tuple[SlicePool, ...], counts: dict[str, int]) -> None:
    """Never more, and none of another resource or GPU."""
    left = taken(pools, counts)
    assert [(pool.resource, pool.gpu, pool.total) for pool in left] == [
        (pool.resource, pool.gpu, pool.total) for pool in pools
    ]
    assert all(0 <= pool.free <= before.free for pool, before in zip(left, pools, strict=True))
    free, kept = Counter[str](), Counter[str]()
    for pool, before in zip(left, pools, strict=True):
        free[pool.resource] += before.free
        kept[pool.resource] += pool.free
    assert all(kept[name] == max(free[name] - counts.get(name, 0), 0) for name in free)


@given(slices(), st.sampled_from(RESOURCES), st.integers(1, 9))
def test_slices_are_refused_exactly_where_too_few_are_free_and_never_free_of_cost(
    pools: tuple[SlicePool, ...], resource: str, count: int
) -> None:
    """Taking never raises the value of what is left."""
    free = sum(pool.free for pool in pools if pool.resource == resource)
    assessment = assessed(pools, asking({resource: count}))
    assert (assessment.refusal is None) == (free >= count)
    if assessment.refusal is None:
        assert assessment.leftover < 0
        assert idleness(taken(pools, {resource: count})) < idleness(pools)


@given(st.integers(0, EVERYTHING), st.integers(1, 8))
def test_without_slices_it_is_the_assessment_of_whole_gpus(free: int, gpus: int) -> None:
    """Nothing changes for nodes and pods that have nothing to do with slices."""
    request = asking({}, gpus)
    assert assessed((), request, free) == assess(TABLES, free, request, Allocation.BEST)
