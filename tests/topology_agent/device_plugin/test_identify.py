"""Which container is being served."""

from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.request import Communication, ContainerKind, ContainerRequest, GpuRequest, Wishes
from topology_agent.device_plugin.identify import identify, unexplained
from topology_agent.kubelet.listing import ContainerListing
from topology_agent.pods import GpuPod

INIT, SIDECAR, MAIN = ContainerKind


def known(*pods: GpuPod) -> dict[str, GpuPod]:
    return {pod.name: pod for pod in pods}


def pod(name: str, *containers: tuple[str, int, ContainerKind], started: bool = False) -> GpuPod:
    request = GpuRequest(tuple(ContainerRequest(*container) for container in containers))
    return GpuPod(f"default/{name}", f"uid-{name}", request, started)


def listed(name: str, **containers: str) -> list[ContainerListing]:
    """Containers with the ids of their devices, separated by blanks."""
    return [ContainerListing(f"default/{name}", title, tuple(ids.split())) for title, ids in containers.items()]


def asking(listing: list[ContainerListing], pods: dict[str, GpuPod], size: int) -> str | None:
    found = identify(listing, pods, size)
    return f"{found.pod}/{found.container}" if found else None


def test_the_pod_without_its_gpus_is_being_served() -> None:
    pods = known(pod("a", ("main", 2, MAIN)), pod("b", ("main", 2, MAIN)))
    assert asking(listed("a", main="GPU-0 GPU-1") + listed("b", main=""), pods, 2) == "default/b/main"


def test_containers_that_ask_for_no_gpu_are_passed_over() -> None:
    pods = known(pod("a", ("train", 2, MAIN)), pod("web"))
    assert asking(listed("web", nginx="") + listed("a", log="", train=""), pods, 2) == "default/a/train"


def test_the_containers_of_a_pod_are_served_in_order() -> None:
    """Equal ones too; what the earlier ones have comes with the answer."""
    pods = known(pod("a", ("one", 2, MAIN), ("two", 2, MAIN)))
    assert asking(listed("a", one="", two=""), pods, 2) == "default/a/one"
    found = identify(listed("a", one="GPU-0 GPU-1", two=""), pods, 2)
    assert found is not None
    assert found.container == "two"
    assert found.held == {"GPU-0", "GPU-1"}


def test_an_init_container_is_not_listed_and_known_by_its_size() -> None:
    pods = known(pod("a", ("prepare", 1, INIT), ("train", 4, MAIN)))
    assert asking(listed("a", train=""), pods, 1) == "default/a/prepare"
    assert asking(listed("a", train=""), pods, 4) == "default/a/train"


def test_a_sidecar_is_served_before_the_main_containers() -> None:
    pods = known(pod("a", ("proxy", 1, SIDECAR), ("train", 4, MAIN)))
    assert asking(listed("a", proxy="", train=""), pods, 1) == "default/a/proxy"
    assert asking(listed("a", proxy="", train=""), pods, 4) is None
    assert asking(listed("a", proxy="GPU-0", train=""), pods, 4) == "default/a/train"


def test_a_pod_that_runs_without_its_gpus_is_not_the_one() -> None:
    """It was started before a device plugin had registered."""
    pods = known(pod("early", ("main", 2, MAIN), started=True), pod("a", ("main", 2, MAIN)))
    assert asking(listed("early", main="") + listed("a", main=""), pods, 2) == "default/a/main"


def test_a_pod_that_ran_before_may_be_served_again_if_nobody_else_is() -> None:
    """The kubelet has lost what it knew of devices and admits its pods anew."""
    pods = known(pod("a", ("main", 2, MAIN), started=True))
    assert asking(listed("a", main=""), pods, 2) == "default/a/main"


def test_pods_to_be_served_alike_need_not_be_told_apart() -> None:
    pods = known(pod("a", ("main", 2, MAIN)), pod("b", ("main", 2, MAIN)))
    assert asking(listed("a", main="") + listed("b", main=""), pods, 2) == "default/a/main"


def test_pods_to_be_served_differently_cannot_be_told_apart() -> None:
    quiet = GpuPod(
        "default/b", "u", GpuRequest((ContainerRequest("main", 2),), Wishes(communication=Communication.NONE))
    )
    pods = known(pod("a", ("main", 2, MAIN)), quiet)
    assert asking(listed("a", main="") + listed("b", main=""), pods, 2) is None


def test_nobody_is_found_where_nobody_asks_for_so_many() -> None:
    pods = known(pod("a", ("main", 2, MAIN)))
    assert asking(listed("a", main=""), pods, 3) is None
    assert asking([], pods, 2) is None


def test_pods_that_nothing_is_known_of_are_named_unless_they_have_devices() -> None:
    listing = listed("a", main="") + listed("b", main="", side="") + listed("c", main="GPU-0", side="")
    assert unexplained(listing, known(pod("a", ("main", 2, MAIN)))) == {"default/b"}


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.data())
def test_in_a_burst_the_one_pod_that_has_none_yet_is_found(sizes: list[int], data: st.DataObject) -> None:
    """The kubelet lists the pods that it has admitted and the one that it is admitting."""
    pods = [pod(f"p{index}", ("main", size, MAIN)) for index, size in enumerate(sizes)]
    order = data.draw(st.permutations(range(len(pods))))
    admitted = data.draw(st.integers(0, len(pods) - 1))
    listing = [entry for index in order[:admitted] for entry in listed(f"p{index}", main=f"GPU-{index}")]
    current = order[admitted]
    listing += listed(f"p{current}", main="")
    assert asking(listing, known(*pods), sizes[current]) == f"default/p{current}/main"
