"""A simulated node hands out its GPUs as a kubelet would, and never one of them twice."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.contract import Allocation
from gpu_topology.errors import PlacementError
from gpu_topology.placement import tables_of
from gpu_topology.placement.vendor import vendor_scores
from gpu_topology.request import ContainerKind, ContainerRequest, GpuRequest, Require, Wishes
from topology_agent.allocators import BestAllocator, VendorAllocator, enumerable, partitions
from topology_agent.profiles import load_machine
from topology_agent.simulation import Allocator, BoundPod, SimulatedNode, with_uuids

MACHINES = ["dgx-1v", "bridged-pairs-8", "pcie-4-node-sys"]


def allocator(machine: str, allocation: Allocation, seed: int = 0) -> Allocator:
    topology = load_machine(machine)
    if allocation is Allocation.BEST:
        return BestAllocator(tables_of(topology))
    return VendorAllocator(vendor_scores(topology), Random(seed))


def new_node(machine: str = "dgx-1v", allocation: Allocation = Allocation.VENDOR, seed: int = 0) -> SimulatedNode:
    return SimulatedNode(len(load_machine(machine)), allocator(machine, allocation, seed))


def pod(name: str, *containers: int | ContainerRequest, wishes: Wishes | None = None) -> BoundPod:
    requests = tuple(
        ContainerRequest(f"c{index}", entry) if isinstance(entry, int) else entry
        for index, entry in enumerate(containers)
    )
    return BoundPod(f"ns/{name}", f"uid-{name}", GpuRequest(requests, wishes or Wishes()))


def init(gpus: int, name: str = "init") -> ContainerRequest:
    return ContainerRequest(name, gpus, ContainerKind.INIT)


both = pytest.mark.parametrize("allocation", list(Allocation))


@both
def test_a_pod_gets_as_many_gpus_as_it_asks_for(allocation: Allocation) -> None:
    node = new_node(allocation=allocation)
    (holder,) = node.bind(pod("a", 3))
    assert len(holder.gpus) == 3
    assert node.occupancy.free == tuple(sorted(set(range(8)) - set(holder.gpus)))
    assert holder.pod_uid == "uid-a"


@both
def test_a_pod_keeps_its_gpus_when_it_is_bound_again(allocation: Allocation) -> None:
    """The watch tells of a pod many times."""
    node = new_node(allocation=allocation)
    first = node.bind(pod("a", 2))
    node.bind(pod("b", 2))
    assert node.bind(pod("a", 2)) == first


def test_a_pod_without_gpus_holds_nothing() -> None:
    node = new_node()
    assert node.bind(pod("a")) == ()
    assert len(node.free) == 8


@both
def test_a_pod_that_does_not_fit_gets_nothing_and_is_not_tried_again(allocation: Allocation) -> None:
    node = new_node(allocation=allocation)
    node.bind(pod("a", 6))
    with pytest.raises(PlacementError):
        node.bind(pod("b", 1, 2))
    node.release("uid-a")
    assert node.bind(pod("b", 1, 2)) == ()
    assert len(node.free) == 8


@both
def test_containers_of_a_pod_hold_different_gpus(allocation: Allocation) -> None:
    holders = new_node(allocation=allocation).bind(pod("a", 2, 4, 1))
    assert [holder.container for holder in holders] == ["c0", "c1", "c2"]
    assert len({gpu for holder in holders for gpu in holder.gpus}) == 7


@both
def test_a_main_container_takes_over_what_its_init_container_had(allocation: Allocation) -> None:
    """Two for the init container and one for the main one leave six of eight, as a real kubelet does."""
    node = new_node(allocation=allocation)
    holders = {holder.container: holder.gpus for holder in node.bind(pod("a", init(2), 1))}
    assert len(holders["init"]) == len(holders["c1"]) == 1
    assert len(node.free) == 6


@both
def test_an_init_container_whose_gpus_were_all_taken_over_holds_none(allocation: Allocation) -> None:
    (holder,) = new_node(allocation=allocation).bind(pod("a", init(2), 4))
    assert holder.container == "c1"
    assert len(holder.gpus) == 4


@both
def test_a_sidecar_keeps_its_gpus_beside_the_main_container(allocation: Allocation) -> None:
    sidecar = ContainerRequest("sidecar", 1, ContainerKind.SIDECAR)
    node = new_node(allocation=allocation)
    holders = {holder.container: holder.gpus for holder in node.bind(pod("a", sidecar, 2))}
    assert not set(holders["sidecar"]) & set(holders["c1"])
    assert len(node.free) == 5


def test_a_node_that_goes_on_from_its_holders_is_as_it_was() -> None:
    node = new_node()
    for name, size in {"a": 2, "b": 1, "c": 3}.items():
        node.bind(pod(name, size))
    restarted = new_node()
    restarted.restore(node.occupancy.held)
    assert restarted.occupancy == node.occupancy
    assert restarted.bind(pod("b", 1)) == node.bind(pod("b", 1))


def test_holders_that_cannot_be_are_refused() -> None:
    node = new_node("pcie-4-node-sys")
    held = new_node().bind(pod("a", 8))
    with pytest.raises(PlacementError, match="ns/a cannot hold GPU 4"):
        node.restore(held)


def test_equal_seeds_make_equal_choices() -> None:
    def choices(seed: int) -> list[tuple[int, ...]]:
        node = new_node(seed=seed)
        return [holder.gpus for name in "abcd" for holder in node.bind(pod(name, 2))]

    assert choices(1) == choices(1)
    assert len({tuple(choices(seed)) for seed in range(20)}) > 1


def test_the_vendor_takes_the_quad_of_a_dgx_1v_with_the_most_links() -> None:
    """As NVIDIA's own plugin does on an empty DGX-1V."""
    (holder,) = new_node().bind(pod("a", 4))
    assert holder.gpus in {(0, 1, 2, 3), (4, 5, 6, 7)}


def test_a_wish_that_cannot_be_met_does_not_keep_a_bound_pod_from_its_gpus() -> None:
    """A kubelet knows no wishes; whoever bound the pod has decided."""
    node = new_node("pcie-4-node-sys", Allocation.BEST)
    (holder,) = node.bind(pod("a", 2, wishes=Wishes(require=Require.NVLINK)))
    assert len(holder.gpus) == 2


def test_sixteen_gpus_are_handed_out_although_the_vendor_would_enumerate_for_minutes() -> None:
    node = new_node("dgx-2")
    for name in "abcde":
        node.bind(pod(name, 3))
    assert len(node.free) == 1


@pytest.mark.parametrize(("gpus", "size", "count"), [(8, 2, 105), (8, 3, 280), (8, 4, 35), (16, 8, 6435), (5, 5, 1)])
def test_partitions_are_counted(gpus: int, size: int, count: int) -> None:
    assert partitions(gpus, size) == count


def test_a_list_with_too_many_partitions_is_cut_short() -> None:
    assert enumerable(list(range(16)), 2) == list(range(10))
    assert enumerable(list(range(8)), 3) == list(range(8))


def test_simulated_gpus_have_the_same_uuids_after_every_start_and_others_on_every_node() -> None:
    topology = load_machine("dgx-1v")
    uuids = [gpu.uuid for gpu in with_uuids(topology, "a").gpus]
    assert uuids == [gpu.uuid for gpu in with_uuids(topology, "a").gpus]
    others = [gpu.uuid for gpu in with_uuids(topology, "b").gpus]
    assert len({*uuids, *others}) == 16
    assert all(uuid is not None and uuid.startswith("GPU-") for uuid in uuids)


requests = st.lists(
    st.builds(
        ContainerRequest,
        name=st.uuids().map(str),
        gpus=st.integers(1, 4),
        kind=st.sampled_from(ContainerKind),
    ),
    max_size=3,
).map(lambda containers: sorted(containers, key=lambda container: container.kind is ContainerKind.MAIN))


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(MACHINES),
    st.sampled_from(Allocation),
    st.lists(st.tuples(st.integers(0, 5), st.none() | requests), max_size=20),
    st.integers(0, 3),
)
def test_free_and_held_are_all_gpus_and_none_is_held_twice(
    machine: str, allocation: Allocation, history: list[tuple[int, list[ContainerRequest] | None]], seed: int
) -> None:
    """Whatever comes and goes; a pod that has GPUs keeps them, also through a restart at any moment."""
    node = new_node(machine, allocation, seed)
    for number, containers in history:
        before = {holder.pod: holder for holder in node.occupancy.held}
        if containers is None:
            node.release(f"uid-{number}")
        else:
            try:
                node.bind(pod(str(number), *containers))
            except PlacementError:
                assert f"uid-{number}" in node.pods
        occupancy = node.occupancy
        held = [gpu for holder in occupancy.held for gpu in holder.gpus]
        assert sorted([*held, *(occupancy.free or ())]) == list(range(node.size))
        after = {holder.pod: holder for holder in occupancy.held}
        assert all(after[name] == before[name] for name in before if name in after)
        restarted = new_node(machine, allocation, seed)
        restarted.restore(occupancy.held)
        assert restarted.occupancy == occupancy


@settings(deadline=None, max_examples=60)
@given(st.lists(requests, max_size=5))
def test_a_pod_holds_as_many_gpus_as_the_scheduler_counted_for_it(pods: list[list[ContainerRequest]]) -> None:
    """Else the scheduler would count on GPUs that are not free.

    Only a pod with init containers may hold more, by how the kubelet passes devices on.
    """
    node = new_node()
    for number, containers in enumerate(pods):
        bound = pod(str(number), *containers)
        try:
            holders = node.bind(bound)
        except PlacementError:
            continue
        held = sum(len(holder.gpus) for holder in holders)
        assert held >= bound.request.total
        if not any(container.kind is ContainerKind.INIT for container in containers):
            assert held == bound.request.total
