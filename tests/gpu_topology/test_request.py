"""What a pod asks for, read from its JSON."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.errors import WishError
from gpu_topology.request import (
    Communication,
    ContainerKind,
    ContainerRequest,
    Require,
    SliceRequest,
    Wishes,
    counts_of,
    request_of,
)


def container(name: str, gpus: Any = None, **fields: Any) -> dict[str, Any]:
    """A container as the API server shows it."""
    resources = {} if gpus is None else {"limits": {"nvidia.com/gpu": gpus}, "requests": {"nvidia.com/gpu": gpus}}
    return {"name": name, "resources": resources, **fields}


def pod(
    *containers: dict[str, Any], init: tuple[dict[str, Any], ...] = (), wishes: dict[str, str] | None = None
) -> dict[str, Any]:
    """A pod as the API server shows it; the annotations' keys get our prefix."""
    annotations = {f"gpu-scheduler/{key}": value for key, value in (wishes or {}).items()}
    return {
        "metadata": {"annotations": annotations},
        "spec": {"containers": list(containers), "initContainers": list(init)},
    }


def test_containers_come_in_the_kubelets_order() -> None:
    """Init containers first, each of its kind; those without GPUs are left out."""
    request = request_of(
        pod(
            container("main", "2"),
            container("logs"),
            init=(container("fetch", "1"), container("proxy", "1", restartPolicy="Always")),
        )
    )
    assert request.containers == (
        ContainerRequest("fetch", 1, ContainerKind.INIT),
        ContainerRequest("proxy", 1, ContainerKind.SIDECAR),
        ContainerRequest("main", 2, ContainerKind.MAIN),
    )


@pytest.mark.parametrize(
    ("mains", "inits", "total"),
    [
        ((2, 1), (), 3),
        ((2,), ((4, False),), 4),
        ((2,), ((1, True),), 3),
        ((1,), ((1, True), (4, False)), 5),
        ((1,), ((4, False), (1, True)), 4),
        ((), (), 0),
    ],
)
def test_the_total_is_what_the_scheduler_counts(
    mains: tuple[int, ...], inits: tuple[tuple[int, bool], ...], total: int
) -> None:
    """Sidecars run beside everything after them; other init containers run alone."""
    init = tuple(
        container(f"i{n}", str(gpus), **({"restartPolicy": "Always"} if sidecar else {}))
        for n, (gpus, sidecar) in enumerate(inits)
    )
    request = request_of(pod(*(container(f"m{n}", str(gpus)) for n, gpus in enumerate(mains)), init=init))
    assert request.total == total


def test_limits_count_where_requests_are_not_filled_in_yet() -> None:
    """A manifest that no API server has defaulted may have limits alone."""
    only_limits = {"name": "main", "resources": {"limits": {"nvidia.com/gpu": 2}}}
    assert request_of(pod(only_limits)).total == 2


def test_wishes_are_read_from_the_annotations() -> None:
    """All three at once."""
    request = request_of(
        pod(
            container("main", "2"),
            wishes={"min-bandwidth-gbps": "100", "require": "nvlink", "communication": "light"},
        )
    )
    assert request.wishes == Wishes(100.0, Require.NVLINK, Communication.LIGHT)
    assert request.wishes.are_hard


def test_a_pod_without_annotations_wishes_nothing_hard() -> None:
    """The default never refuses a node."""
    assert not request_of(pod(container("main", "8"))).wishes.are_hard


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("require", "nvlnk", "must be one of any, numa, pcie-switch, nvlink"),
        ("communication", "", "must be one of none, light, heavy"),
        ("min-bandwidth-gbps", "fast", "must be a number of GB/s"),
        ("min-bandwidth-gbps", "-1", "must be a number of GB/s"),
        ("min-bandwidth-gbps", "nan", "must be a number of GB/s"),
        ("min-bandwidth-gbps", "inf", "must be a number of GB/s"),
    ],
)
def test_a_wish_that_cannot_be_read_is_refused_in_a_sentence(key: str, text: str, says: str) -> None:
    """It names the annotation and what it may hold."""
    with pytest.raises(WishError, match=f"gpu-scheduler/{key} is .* it {says}"):
        request_of(pod(container("main", "1"), wishes={key: text}))


@pytest.mark.parametrize("quantity", [True, -1, "-1", "x", "", "1.5", 2.5, [], {}, None, "9" * 5000, "²"])
def test_a_quantity_that_is_no_count_counts_as_none(quantity: object) -> None:
    """The API server admits whole numbers only; anything else must not stop the process."""
    assert request_of(pod(container("main", quantity))).total == 0


def slices(**counts: str) -> dict[str, Any]:
    """A container's resources; `mig_1g="2"` is two of nvidia.com/mig-1g."""
    resources = {f"nvidia.com/{key.replace('_', '-')}": count for key, count in counts.items()}
    return {"resources": {"limits": resources, "requests": resources}}


def test_slices_are_asked_for_by_container_and_resource() -> None:
    """MIG devices and shared replicas; other resources of the vendor's are none of ours."""
    asked = {"nvidia.com/gpu.shared": "1", "nvidia.com/mig-1g.10gb": "2", "nvidia.com/hostdev": "1", "cpu": "4"}
    request = request_of(pod({"name": "main", "resources": {"requests": asked}}, container("side", "1")))
    assert request.slices == (
        SliceRequest("main", "nvidia.com/gpu.shared", 1),
        SliceRequest("main", "nvidia.com/mig-1g.10gb", 2),
    )
    assert request.total == 1


def test_slices_are_counted_per_resource_as_the_scheduler_does() -> None:
    """An init container's are over when the main ones start, a sidecar's are not."""
    request = request_of(
        pod(
            container("main") | slices(mig_1g="2"),
            container("more") | slices(mig_1g="1", mig_3g="1"),
            init=(
                container("proxy", restartPolicy="Always") | slices(mig_3g="1"),
                container("fetch") | slices(mig_1g="5"),
            ),
        )
    )
    assert request.slice_totals == {"nvidia.com/mig-3g": 2, "nvidia.com/mig-1g": 5}


@pytest.mark.parametrize("resource", ["nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared", "nvidia.com/gpu"])
def test_a_pod_that_asks_for_a_part_of_a_gpu_is_not_empty(resource: str) -> None:
    """As one that asks for a whole one."""
    assert not request_of(pod({"name": "main", "resources": {"limits": {resource: 1}}})).is_empty


@pytest.mark.parametrize("resource", ["amd.com/gpu", "nvidia.com/hostdev", "example.com/mig-1g.10gb", "cpu"])
def test_a_pod_that_asks_for_neither_is_empty(resource: str) -> None:
    """Whatever else it asks for."""
    assert request_of(pod({"name": "main", "resources": {"limits": {resource: 1}}})).is_empty


def test_what_a_pod_asks_for_can_be_read_where_its_wishes_cannot() -> None:
    """A pod that runs holds its GPUs."""
    request = counts_of(pod(container("main", "2"), wishes={"require": "the moon"}))
    assert request.total == 2
    assert not request.wishes.are_hard


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "metadata", "containers", "resources", "limits"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["spec", "metadata", "kind"]), json_values))
def test_a_pod_of_any_shape_is_read_without_a_crash(shape: dict[str, Any]) -> None:
    """Fields may be missing, null or of any type."""
    assert request_of(shape).total >= 0
