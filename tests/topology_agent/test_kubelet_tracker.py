"""What the agent believes of a kubelet: restarts, pods without devices yet, unhealthy and foreign devices."""

from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.contract import Holder
from topology_agent.kubelet.listing import ContainerListing, Listing
from topology_agent.kubelet.tracker import KubeletTracker

UUIDS = {f"GPU-{index}": index for index in range(4)}
ALL = tuple(UUIDS)
SETTLE = 5.0


def listing(
    held: dict[str, tuple[str, ...]] | None = None, *, allocatable: tuple[str, ...] = ALL, incarnation: str = "first"
) -> Listing:
    """A listing of pods named by the keys, with one container each."""
    containers = tuple(ContainerListing(f"ns/{pod}", "main", devices) for pod, devices in (held or {}).items())
    return Listing(containers, allocatable, incarnation)


def tracker(*first: Listing) -> KubeletTracker:
    """A tracker that has settled on what it was told first."""
    result = KubeletTracker(UUIDS, SETTLE)
    for heard in first:
        result.heard(heard, 0.0)
        result.heard(heard, SETTLE)
    return result


def test_nothing_is_known_before_the_kubelet_was_reached() -> None:
    occupancy = tracker().occupancy
    assert occupancy.free is None
    assert occupancy.stale is not None


def test_free_is_what_is_healthy_and_not_held() -> None:
    occupancy = tracker(listing({"a": ("GPU-1", "GPU-2")}, allocatable=ALL[:3])).occupancy
    assert occupancy.free == (0,)
    assert occupancy.held == (Holder("ns/a", "main", (1, 2)),)
    assert list(occupancy.unhealthy) == [3]
    assert occupancy.stale is None


def test_a_gpu_that_is_held_and_unhealthy_is_both() -> None:
    occupancy = tracker(listing({"a": ("GPU-3",)}, allocatable=ALL[:3])).occupancy
    assert occupancy.held[0].gpus == (3,)
    assert 3 in occupancy.unhealthy


def test_a_dead_device_plugin_leaves_no_gpu_free_and_says_so() -> None:
    occupancy = tracker(listing({"a": ("GPU-0",)}, allocatable=())).occupancy
    assert occupancy.free == ()
    assert set(occupancy.unhealthy.values()) == {"the device plugin offers no whole GPU to the kubelet"}


def test_an_empty_list_of_a_kubelet_that_has_just_come_up_is_not_free() -> None:
    subject = tracker(listing({"a": ("GPU-0",)}))
    subject.lost("away")
    subject.heard(listing(incarnation="second"), 10.0)
    assert subject.occupancy.free == (1, 2, 3)
    assert subject.occupancy.held == (Holder("ns/a", "main", (0,)),)
    assert subject.occupancy.stale is not None


def test_a_restart_that_nobody_noticed_is_recognised_by_the_new_socket() -> None:
    subject = tracker(listing({"a": ("GPU-0",)}))
    subject.heard(listing(incarnation="second"), 10.0)
    assert subject.occupancy.held == (Holder("ns/a", "main", (0,)),)


def test_an_empty_list_is_believed_once_the_kubelet_has_settled() -> None:
    subject = tracker(listing({"a": ("GPU-0",)}))
    subject.heard(listing(incarnation="second"), 10.0)
    subject.heard(listing(incarnation="second"), 10.0 + SETTLE)
    assert subject.occupancy.free == (0, 1, 2, 3)
    assert subject.occupancy.stale is None


def test_an_agent_that_starts_with_the_kubelet_does_not_take_an_empty_list_for_free() -> None:
    subject = KubeletTracker(UUIDS, SETTLE)
    subject.heard(listing(), 0.0)
    assert subject.occupancy.free is None
    subject.heard(listing(), SETTLE)
    assert subject.occupancy.free == (0, 1, 2, 3)


def test_a_full_list_is_believed_at_once() -> None:
    subject = KubeletTracker(UUIDS, SETTLE)
    subject.heard(listing({"a": ("GPU-0",)}), 0.0)
    assert subject.occupancy.free == (1, 2, 3)
    assert subject.occupancy.stale is None


def test_while_the_kubelet_is_away_its_last_word_stands_as_stale() -> None:
    subject = tracker(listing({"a": ("GPU-0",)}))
    subject.lost("the kubelet is away")
    assert subject.occupancy.free == (1, 2, 3)
    assert subject.occupancy.stale == "the kubelet is away"


def test_in_settled_times_a_pod_that_is_no_longer_listed_is_gone_at_once() -> None:
    subject = tracker(listing({"a": ("GPU-0",), "b": ("GPU-1",)}))
    subject.heard(listing({"b": ("GPU-1",)}), SETTLE + 1)
    assert subject.occupancy.free == (0, 2, 3)


def test_a_new_pod_without_devices_is_worth_a_second_look_but_only_one() -> None:
    """While the kubelet allocates, a pod is listed without devices; pods that ask for none look the same for ever."""
    subject = tracker(listing({"a": ("GPU-0",)}))
    assert not subject.expects_devices
    subject.heard(listing({"a": ("GPU-0",), "b": ()}), SETTLE + 1)
    assert subject.expects_devices
    subject.heard(listing({"a": ("GPU-0",), "b": ()}), SETTLE + 2)
    assert not subject.expects_devices


def test_a_foreign_device_is_named_once_and_changes_nothing_else() -> None:
    subject = KubeletTracker(UUIDS, SETTLE)
    heard = listing({"a": ("MIG-7", "GPU-0")}, allocatable=(*ALL, "MIG-7"))
    subject.heard(heard, 0.0)
    assert subject.foreign == ("MIG-7",)
    assert subject.occupancy.free == (1, 2, 3)
    subject.heard(heard, 1.0)
    assert not subject.foreign


def test_devices_of_which_none_is_known_leave_the_free_gpus_unknown() -> None:
    """As on a machine whose topology came from a dump, which has no UUIDs."""
    subject = KubeletTracker({}, SETTLE)
    subject.heard(listing({"a": ("GPU-0",)}), 0.0)
    assert subject.occupancy.free is None
    assert subject.occupancy.stale is not None
    assert "none of the kubelet's devices" in subject.occupancy.stale


steps = st.lists(
    st.one_of(
        st.just(None),
        st.tuples(
            st.dictionaries(st.sampled_from("abcd"), st.sampled_from([(), *((uuid,) for uuid in ALL)]), max_size=4),
            st.lists(st.sampled_from(ALL), unique=True).map(tuple),
            st.sampled_from(["first", "second"]),
            st.floats(0, 10),
        ),
    )
)


@given(steps)
def test_a_free_gpu_is_never_held_or_unhealthy(
    history: list[tuple[dict[str, tuple[str, ...]], tuple[str, ...], str, float] | None],
) -> None:
    """Whatever the kubelet says, and in whichever order."""
    subject = KubeletTracker(UUIDS, SETTLE)
    now = 0.0
    for step in history:
        if step is None:
            subject.lost("away")
        else:
            held, allocatable, incarnation, pause = step
            now += pause
            subject.heard(listing(held, allocatable=allocatable, incarnation=incarnation), now)
        occupancy = subject.occupancy
        taken = {gpu for holder in occupancy.held for gpu in holder.gpus}
        assert not taken.union(occupancy.unhealthy).intersection(occupancy.free or ())
