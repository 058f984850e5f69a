"""The component `gpu-loss-eviction` on a real kube-apiserver: the extender may evict, say so, and no more than that."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from kubernetes_api import ApiError, Cluster, NodeEvent, NotFoundError, PodReference
from tests.control_plane import objects
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.manifests.files import REPOSITORY, overlay, render
from tests.manifests.kubectl import Kubectl
from tests.manifests.service_accounts import connect_as

COMPONENT = REPOSITORY / "manifests" / "components" / "gpu-loss-eviction"
RBAC = "rbac.authorization.k8s.io/v1"
POD = "evictee"


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[ControlPlane]:
    """The cluster that has the base, with the component's rights; they are taken away again afterwards."""
    rights = COMPONENT / "rbac.yaml"
    kubectl.apply("-f", str(rights))
    yield control_plane
    for manifest in yaml.safe_load_all(rights.read_text()):
        metadata = manifest["metadata"]
        namespace = metadata.get("namespace", "default")
        control_plane.client.delete(manifest["kind"], metadata["name"], namespace, api_version=RBAC)


@pytest.fixture
def uid(cluster: ControlPlane, kubernetes_client: Client) -> str:  # noqa: ARG001  first, the rights
    """That of a pod which runs on a node."""
    wanted = objects.pod(POD, gpus=1)
    wanted["spec"]["nodeName"] = "n"
    return str(kubernetes_client.create(wanted)["metadata"]["uid"])


async def test_the_extender_evicts_a_pod_and_says_so_on_it(cluster: ControlPlane, uid: str) -> None:
    """In the pod's own namespace, whichever that is."""
    event = NodeEvent(
        "GpuLost", "Evicted", "a GPU of this pod was lost", is_warning=True, reporter="gpu-scheduler/extender"
    )
    async with await Cluster.connect(cluster.service_account_kubeconfig("gpu-scheduler", "extender")) as extender:
        await extender.evict_pod("default", POD, uid=uid)
        await extender.create_event(PodReference("default", POD, uid), event)
    assert "deletionTimestamp" in cluster.client.get("Pod", POD)["metadata"]
    events = cluster.client.list("Event", "default", api_version="events.k8s.io/v1")
    [about] = [found["regarding"] for found in events if found["regarding"]["name"] == POD]
    assert (about["kind"], about["namespace"], about["uid"]) == ("Pod", "default", uid)


async def test_the_extender_sees_the_schedulers_lease_and_the_agents_ones(cluster: ControlPlane) -> None:
    """Not found is an answer, forbidden would be none. No other lease is its business."""
    async with await Cluster.connect(cluster.service_account_kubeconfig("gpu-scheduler", "extender")) as extender:
        for namespace, name in (("gpu-scheduler", "gpu-scheduler"), ("gpu-topology-agent", "any-node")):
            with suppress(NotFoundError):
                await extender.get_lease(namespace, name)
        for namespace, name in (("gpu-scheduler", "another"), ("kube-system", "kube-scheduler")):
            with pytest.raises(ApiError, match="forbidden"):
                await extender.get_lease(namespace, name)


@pytest.mark.usefixtures("uid")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/api/v1/namespaces/default/pods/{POD}"),
        ("GET", f"/api/v1/namespaces/default/pods/{POD}"),
        ("POST", f"/api/v1/namespaces/default/pods/{POD}/binding"),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/gpu-topology-agent/leases"),
        ("PATCH", "/apis/coordination.k8s.io/v1/namespaces/gpu-scheduler/leases/gpu-scheduler"),
        ("GET", "/apis/policy/v1/poddisruptionbudgets"),
        ("GET", "/apis/events.k8s.io/v1/events"),
    ],
)
def test_the_extender_gets_no_further_right(cluster: ControlPlane, method: str, path: str) -> None:
    """An eviction heeds budgets; a plain deletion would not."""
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else None
    with connect_as(cluster, "gpu-scheduler", "extender") as extender:
        answer = extender.request(method, path, json=None if method in ("GET", "DELETE") else {}, headers=headers)
    assert answer.status_code == 403, answer.text


def test_the_extender_is_told(tmp_path: Path) -> None:
    """By the setting that makes it evict."""
    rendered = render(overlay(tmp_path, COMPONENT))
    [scheduler] = [manifest for manifest in rendered if manifest["kind"] == "Deployment"]
    [extender] = scheduler["spec"]["template"]["spec"]["initContainers"]
    assert {"name": "GPU_SCHEDULER_EVICT_ON_GPU_LOSS", "value": "true"} in extender["env"]
