"""Parts of GPUs in what the agent believes of a kubelet: MIG devices and replicas, and the GPUs that they are of."""

from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.contract import Allocation, decode_state
from gpu_topology.slices import SliceHolder, SlicePool
from topology_agent.kubelet.listing import ContainerListing, Listing, Slice
from topology_agent.kubelet.tracker import KubeletTracker
from topology_agent.occupancy import Occupancy
from topology_agent.report import NodeReport

UUIDS = {f"GPU-{index}": index for index in range(4)}
SETTLE = 5.0
SMALL, LARGE = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"
PARENTS = {"MIG-a": 2, "MIG-b": 2, "MIG-c": 3, "MIG-large": 3}
CUT = (Slice(SMALL, "MIG-a"), Slice(SMALL, "MIG-b"), Slice(SMALL, "MIG-c"), Slice(LARGE, "MIG-large"))
"""GPUs 2 and 3 are cut, 0 and 1 are whole."""


def listing(
    *containers: ContainerListing,
    allocatable: tuple[str, ...] = ("GPU-0", "GPU-1"),
    slices: tuple[Slice, ...] = CUT,
    incarnation: str = "first",
) -> Listing:
    """A listing of a node of which some GPUs are cut."""
    return Listing(containers, allocatable, incarnation, slices)


def container(name: str, *slices: Slice, devices: tuple[str, ...] = ()) -> ContainerListing:
    """A pod's only container."""
    return ContainerListing(f"ns/{name}", "main", devices, slices)


def settled(heard: Listing, parents: dict[str, int] | None = None) -> KubeletTracker:
    """A tracker that has settled on a listing."""
    subject = KubeletTracker(UUIDS, SETTLE, PARENTS if parents is None else parents)
    subject.heard(heard, 0.0)
    subject.heard(heard, SETTLE)
    return subject


def test_mig_devices_are_counted_per_resource_and_gpu() -> None:
    occupancy = settled(listing(container("a", CUT[0], CUT[3]), container("b", CUT[1]))).occupancy
    assert occupancy.slices == (SlicePool(SMALL, 2, 2, 0), SlicePool(SMALL, 3, 1, 1), SlicePool(LARGE, 3, 1, 0))
    assert set(occupancy.held_slices) == {
        SliceHolder("ns/a", "main", SMALL, 2, 1),
        SliceHolder("ns/a", "main", LARGE, 3, 1),
        SliceHolder("ns/b", "main", SMALL, 2, 1),
    }


def test_a_gpu_that_is_cut_is_neither_free_nor_unhealthy() -> None:
    occupancy = settled(listing(container("a", devices=("GPU-1",)))).occupancy
    assert occupancy.free == (0,)
    assert not occupancy.unhealthy
    assert [holder.gpus for holder in occupancy.held] == [(1,)]


def test_mig_devices_of_unknown_parents_are_of_no_known_gpu_and_named_once() -> None:
    """Their GPUs are not offered whole, so they are not free either."""
    subject = KubeletTracker(UUIDS, SETTLE)
    subject.heard(listing(container("a", CUT[0])), SETTLE)
    assert subject.foreign == ("MIG-a", "MIG-b", "MIG-c", "MIG-large")
    assert subject.occupancy.slices == (SlicePool(SMALL, None, 3, 2), SlicePool(LARGE, None, 1, 1))
    assert subject.occupancy.free == (0, 1)
    assert list(subject.occupancy.unhealthy) == [2, 3]


def test_replicas_belong_to_the_gpu_that_is_shared() -> None:
    replicas = tuple(Slice("nvidia.com/gpu.shared", f"{uuid}::{number}") for uuid in UUIDS for number in range(3))
    occupancy = settled(listing(container("a", replicas[0], replicas[4]), allocatable=(), slices=replicas)).occupancy
    assert occupancy.free == ()
    assert not occupancy.unhealthy
    assert [(pool.gpu, pool.total, pool.free) for pool in occupancy.slices or ()] == [
        (0, 3, 2),
        (1, 3, 2),
        (2, 3, 3),
        (3, 3, 3),
    ]


def test_replicas_of_mig_devices_belong_to_the_gpu_that_is_cut() -> None:
    replicas = tuple(Slice(f"{SMALL}.shared", f"MIG-a::{number}") for number in range(2))
    occupancy = settled(listing(slices=replicas)).occupancy
    assert occupancy.slices == (SlicePool(f"{SMALL}.shared", 2, 2, 2),)


def test_replicas_and_mig_devices_may_go_under_the_name_of_whole_gpus() -> None:
    """Replicas that are not renamed, and the MIG devices of a node that is cut alike throughout."""
    shared = tuple(f"GPU-{index}::{number}" for index in range(2) for number in range(2))
    holder = container("a", devices=("GPU-1::0", "MIG-a"))
    occupancy = settled(listing(holder, allocatable=(*shared, "MIG-a"), slices=())).occupancy
    assert not occupancy.held
    assert occupancy.slices == (
        SlicePool("nvidia.com/gpu", 0, 2, 2),
        SlicePool("nvidia.com/gpu", 1, 2, 1),
        SlicePool("nvidia.com/gpu", 2, 1, 0),
    )
    assert list(occupancy.unhealthy) == [3]


def test_a_held_slice_that_is_not_healthy_is_counted_but_not_free() -> None:
    occupancy = settled(listing(container("a", CUT[0]), slices=CUT[1:])).occupancy
    assert (occupancy.slices or ())[0] == SlicePool(SMALL, 2, 2, 1)


def test_slices_stay_held_while_the_kubelet_comes_up() -> None:
    subject = settled(listing(container("a", CUT[0])))
    before = subject.occupancy
    subject.heard(listing(incarnation="second"), 10.0)
    assert (subject.occupancy.slices, subject.occupancy.held_slices) == (before.slices, before.held_slices)
    assert subject.occupancy.stale is not None
    subject.heard(listing(incarnation="second"), 10.0 + SETTLE)
    assert subject.occupancy.held_slices == ()


def test_an_agent_that_starts_with_the_kubelet_does_not_know_the_slices() -> None:
    subject = KubeletTracker(UUIDS, SETTLE, PARENTS)
    subject.heard(listing(), 0.0)
    assert subject.occupancy.slices is None


def test_a_container_with_slices_does_not_wait_for_devices() -> None:
    subject = settled(listing())
    subject.heard(listing(container("a", CUT[0])), SETTLE + 1)
    assert not subject.expects_devices


def test_no_slice_of_an_unhealthy_gpu_is_published_as_free() -> None:
    occupancy = Occupancy((0,), unhealthy={1: "XID 79"}, slices=(SlicePool(SMALL, 1, 7, 5), SlicePool(SMALL, 2, 7, 6)))
    annotations = NodeReport("{}", occupancy, Allocation.VENDOR).changes({})
    state = decode_state(annotations["gpu-scheduler/state"])
    assert state.slices == (SlicePool(SMALL, 1, 7, 0), SlicePool(SMALL, 2, 7, 6))


def test_a_node_of_which_no_slices_are_known_does_not_say_that_it_has_none() -> None:
    annotations = NodeReport("{}", Occupancy((0,)), Allocation.VENDOR).changes({})
    assert decode_state(annotations["gpu-scheduler/state"]).slices is None


parts = st.sampled_from((*CUT, *(Slice("nvidia.com/gpu.shared", f"GPU-0::{number}") for number in range(3))))


@given(st.lists(st.tuples(st.lists(parts, unique=True), st.sets(parts), st.sampled_from("xy"), st.floats(0, 10))))
def test_free_and_held_slices_add_up_to_all_of_them(
    history: list[tuple[list[Slice], set[Slice], str, float]],
) -> None:
    """Whatever the kubelet says, and in whichever order."""
    subject = KubeletTracker(UUIDS, SETTLE, {"MIG-a": 2, "MIG-b": 2})
    now = 0.0
    for held, allocatable, incarnation, pause in history:
        now += pause
        containers = (container(str(place), part) for place, part in enumerate(held))
        subject.heard(listing(*containers, slices=tuple(allocatable), incarnation=incarnation), now)
        if subject.occupancy.slices is None:
            continue
        for pool in subject.occupancy.slices:
            counts = (
                holder.count
                for holder in subject.occupancy.held_slices
                if (holder.resource, holder.gpu) == (pool.resource, pool.gpu)
            )
            assert pool.free >= 0
            assert pool.free + sum(counts) == pool.total
            assert pool.gpu not in (subject.occupancy.free or ())
