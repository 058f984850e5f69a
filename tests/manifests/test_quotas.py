"""What quotas and limit ranges do with GPUs on a real kube-apiserver: the tables of docs/cluster/quotas.md.

Nobody fills in a quota's status here, as kube-controller-manager would; the tests do, and admission goes by it.
"""

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from tenacity import retry, retry_if_not_exception_type, retry_if_result, stop_after_delay, wait_fixed

from tests.control_plane import objects
from tests.control_plane.client import ApiError, Client
from tests.control_plane.cluster import ControlPlane
from tests.manifests.files import COMPONENTS, Manifest, render

GPU = "nvidia.com/gpu"
SEEN_SECONDS = 30.0
"""Within which the API server's admission has heard of a new quota or limit range, by a watch of its own."""


@pytest.fixture
def namespace(control_plane: ControlPlane) -> str:
    """A new one. Without kube-controller-manager none can be deleted for good, so it stays."""
    name = f"team-{uuid4()}"
    control_plane.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def client(kubernetes_client: Client) -> Client:
    """The administrator's."""
    return kubernetes_client


def quota(client: Client, namespace: str, hard: dict[str, str]) -> None:
    """A quota of which nothing is used yet."""
    metadata = {"name": "gpus", "namespace": namespace}
    client.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    set_status(client, namespace, hard)


def set_status(client: Client, namespace: str, hard: dict[str, str]) -> None:
    """What kube-controller-manager does."""
    status = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    client.patch("ResourceQuota", "gpus", {"status": status}, namespace, subresource="status")


def limit(client: Client, namespace: str, item: dict[str, Any]) -> None:
    """A limit range of one item."""
    metadata = {"name": "gpus", "namespace": namespace}
    client.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": [item]}})


def pod(namespace: str, resource: str = "", count: int = 0) -> Manifest:
    """A pod with an init container, a sidecar and a container; the last one may ask for something."""
    made = objects.pod(f"pod-{uuid4()}", namespace=namespace)
    if resource:
        made["spec"]["containers"][0]["resources"]["limits"] = {resource: str(count)}
    made["spec"]["initContainers"] = [
        {"name": "init", "image": "example/image"},
        {"name": "sidecar", "image": "example/image", "restartPolicy": "Always"},
    ]
    return made


def gpus_of(pod: Manifest) -> list[str | None]:
    """What its containers ask for, in the order of `pod`."""
    containers = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
    return [container.get("resources", {}).get("limits", {}).get(GPU) for container in containers]


@retry(retry=retry_if_not_exception_type(ApiError), stop=stop_after_delay(SEEN_SECONDS), wait=wait_fixed(0.1))
def refusal(client: Client, refused: Manifest) -> None:
    """Create a pod until it is refused, with the API server's reason as ApiError."""
    made = client.create(refused)
    client.delete("Pod", made["metadata"]["name"], made["metadata"]["namespace"])
    raise AssertionError(f"{refused} is admitted")


@pytest.mark.parametrize("resource", [GPU, "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb"])
def test_a_quota_counts_what_stands_under_requests(client: Client, namespace: str, resource: str) -> None:
    """Up to the number, and no further; pods without it are not concerned."""
    quota(client, namespace, {f"requests.{resource}": "1"})
    with pytest.raises(ApiError, match=f"exceeded quota: gpus, requested: requests.{resource}=2"):
        refusal(client, pod(namespace, resource, 2))
    client.create(pod(namespace, resource, 1))
    client.create(pod(namespace))
    with pytest.raises(ApiError, match="exceeded quota"):
        refusal(client, pod(namespace, resource, 1))


def test_each_name_counts_for_itself(client: Client, namespace: str) -> None:
    """A quota of GPUs holds back no MIG device."""
    quota(client, namespace, {f"requests.{GPU}": "0"})
    with pytest.raises(ApiError, match="exceeded quota"):
        refusal(client, pod(namespace, GPU, 1))
    client.create(pod(namespace, "nvidia.com/mig-3g.40gb", 1))


@pytest.mark.parametrize("spelling", [GPU, f"limits.{GPU}"])
def test_other_spellings_are_accepted_and_limit_nothing(client: Client, namespace: str, spelling: str) -> None:
    """A quota that counts stands beside it in the same object, and shows that admission has seen it."""
    quota(client, namespace, {spelling: "0", "requests.nvidia.com/gpu.shared": "0"})
    with pytest.raises(ApiError, match=r"exceeded quota: gpus, requested: requests.nvidia.com/gpu.shared=1"):
        refusal(client, pod(namespace, "nvidia.com/gpu.shared", 1))
    client.create(pod(namespace, GPU, 8))
    assert client.get("ResourceQuota", "gpus", namespace)["status"]["used"][spelling] == "0"


@pytest.mark.parametrize("spelling", ["gpu", "requests.gpu"])
def test_names_without_a_domain_are_refused(client: Client, namespace: str, spelling: str) -> None:
    with pytest.raises(ApiError, match="must be a standard resource for quota"):
        quota(client, namespace, {spelling: "1"})


@pytest.mark.parametrize(
    ("item", "given"),
    [
        ({"default": {GPU: "1"}}, ["1", "1", "1"]),
        ({"max": {GPU: "4"}}, ["4", "4", "4"]),
        ({"max": {GPU: "4"}, "default": {GPU: "0"}}, ["0", "0", "0"]),
    ],
    ids=["default 1", "max 4", "max 4 and default 0"],
)
def test_a_limit_range_gives_gpus_to_every_container_that_asks_for_none(
    client: Client, namespace: str, item: dict[str, Any], given: list[str]
) -> None:
    """Init containers and sidecars included; where no default is named, the maximum is the default."""
    limit(client, namespace, {"type": "Container"} | item)
    assert admitted_with(client, namespace) == given


@retry(
    retry=retry_if_result(lambda given: given == [None, None, None]),
    stop=stop_after_delay(SEEN_SECONDS),
    wait=wait_fixed(0.1),
)
def admitted_with(client: Client, namespace: str) -> list[str | None]:
    """The GPUs of the containers of a pod that asks for none, once the limit range is seen."""
    return gpus_of(client.create(pod(namespace)))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"type": "Container", "min": {GPU: "1"}}, "Limit must be set for non overcommitable resources"),
        ({"type": "Container", "defaultRequest": {GPU: "1"}}, "Limit must be set for non overcommitable resources"),
        ({"type": "Pod", "max": {GPU: "4"}}, "No limit is specified"),
    ],
    ids=["min", "defaultRequest", "max of the pod"],
)
def test_other_limit_ranges_refuse_pods_without_gpus(
    client: Client, namespace: str, item: dict[str, Any], reason: str
) -> None:
    limit(client, namespace, item)
    with pytest.raises(ApiError, match=reason):
        refusal(client, pod(namespace))


def test_a_limit_range_takes_bare_names_alone(client: Client, namespace: str) -> None:
    with pytest.raises(ApiError, match="doesn't follow extended resource name standard"):
        limit(client, namespace, {"type": "Container", "default": {f"requests.{GPU}": "1"}})


def test_the_component_limits_a_team_and_leaves_pods_without_gpus_alone(
    client: Client, namespace: str, tmp_path: Path
) -> None:
    """As an overlay of the team's has it."""
    kustomization = {
        "namespace": namespace,
        "components": [os.path.relpath(COMPONENTS / "team-limits", tmp_path.resolve())],
    }
    tmp_path.joinpath("kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    applied = {manifest["kind"]: manifest for manifest in client.apply(render(tmp_path))}
    set_status(client, namespace, applied["ResourceQuota"]["spec"]["hard"])
    with pytest.raises(ApiError, match=r"maximum nvidia.com/gpu usage per Container is 8, but limit is 9"):
        refusal(client, pod(namespace, GPU, 9))
    client.create(pod(namespace, GPU, 8))
    with pytest.raises(ApiError, match="exceeded quota"):
        refusal(client, pod(namespace, GPU, 1))
    assert gpus_of(client.create(pod(namespace))) == ["0", "0", "0"]
