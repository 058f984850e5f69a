"""The component `bind` on a real kube-apiserver: the extender may bind, and nobody else writes what it records."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import yaml

from extender.bind import Binder
from extender.ledger import Ledger
from extender.wire import ExtenderBindingArgs
from gpu_topology.assignment import ASSIGNED_ANNOTATION, decode_assignment
from kubernetes_api import Cluster
from tests.control_plane import objects
from tests.control_plane.client import ApiError
from tests.control_plane.cluster import ControlPlane
from tests.extender.builders import bridged, node
from tests.manifests.files import REPOSITORY, Manifest, overlay, render
from tests.manifests.kubectl import Kubectl
from tests.manifests.policies import RECORDED, wait_for_the_policy_of_records
from tests.manifests.service_accounts import MERGE_PATCH, connect_as

COMPONENT = REPOSITORY / "manifests" / "components" / "bind"
POD = "trainer"
PODS = "/api/v1/namespaces/default/pods"
RECORDING = {"metadata": {"annotations": RECORDED}}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    """The base with the component, as an overlay has it."""
    return render(overlay(tmp_path_factory.mktemp("overlay"), COMPONENT))


@pytest.fixture(scope="module")
def cluster(
    control_plane_programs: None,  # noqa: ARG001  for its skip
    rendered: tuple[Manifest, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ControlPlane]:
    """A cluster of its own with base and component, by which the extender has further rights."""
    folder = tmp_path_factory.mktemp("bind")
    manifests = folder / "all.yaml"
    manifests.write_text(yaml.safe_dump_all(rendered))
    with ControlPlane(folder / "control-plane") as control_plane:
        kubectl = Kubectl(control_plane.kubeconfig())
        kubectl.apply("-f", str(manifests))
        wait_for_the_policy_of_records(kubectl)
        yield control_plane


@pytest.fixture
def pod(cluster: ControlPlane) -> Iterator[ExtenderBindingArgs]:
    """A pod that waits, as kube-scheduler asks to bind it."""
    created = cluster.client.create(objects.pod(POD, gpus=2, scheduler_name="gpu-scheduler"))
    yield ExtenderBindingArgs("default", POD, created["metadata"]["uid"], "n")
    cluster.client.delete("Pod", POD)


@pytest.fixture
def scheduler(cluster: ControlPlane) -> Iterator[httpx.Client]:
    """kube-scheduler, which may bind, but not record."""
    with ExitStack() as connection:
        yield connection.enter_context(connect_as(cluster, "gpu-scheduler", "scheduler"))


def binding(asked: ExtenderBindingArgs, annotations: dict[str, str]) -> Manifest:
    """What binds a pod to a node."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": asked.name, "uid": asked.uid, "annotations": annotations},
        "target": {"apiVersion": "v1", "kind": "Node", "name": asked.node},
    }


async def test_the_extender_binds_and_records_with_the_rights_of_the_component(
    cluster: ControlPlane, pod: ExtenderBindingArgs
) -> None:
    """It looks the pod up, since filter was not asked, and writes both in one call."""
    ledger = Ledger(trusts_records=True)
    ledger.replace_nodes([node("n", bridged(4))])
    async with await Cluster.connect(cluster.service_account_kubeconfig("gpu-scheduler", "extender")) as api:
        binder = Binder(ledger, api)
        await binder.bind(pod, None)
        await binder.close()
    bound = cluster.client.get("Pod", POD)
    assert bound["spec"]["nodeName"] == "n"
    record = decode_assignment(bound["metadata"]["annotations"][ASSIGNED_ANNOTATION])
    assert (record.pod_uid, record.node, record.enforced) == (pod.uid, "n", True)


def test_kube_scheduler_may_bind_without_a_record_only(scheduler: httpx.Client, pod: ExtenderBindingArgs) -> None:
    """A binding's annotations end up on the pod."""
    refused = scheduler.post(f"{PODS}/{POD}/binding", json=binding(pod, RECORDED))
    assert refused.status_code == 403
    assert "written by the GPU scheduler's extender alone" in refused.text
    assert scheduler.post(f"{PODS}/{POD}/binding", json=binding(pod, {})).is_success


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize("subresource", ["", "status"])
def test_not_even_an_administrator_writes_a_record(cluster: ControlPlane, subresource: str) -> None:
    """The kubelet's way, by the status, is as closed as the user's."""
    with pytest.raises(ApiError, match="written by the GPU scheduler's extender alone"):
        cluster.client.patch("Pod", POD, RECORDING, subresource=subresource)
    assert cluster.client.patch("Pod", POD, {"metadata": {"annotations": {"team": "a"}}}, subresource=subresource)


def test_a_record_is_neither_changed_nor_removed(cluster: ControlPlane, pod: ExtenderBindingArgs) -> None:
    """All else of such a pod may be changed."""
    with connect_as(cluster, "gpu-scheduler", "extender") as extender:
        assert extender.post(f"{PODS}/{POD}/binding", json=binding(pod, RECORDED)).is_success
        # The right to bind is not one to patch.
        assert extender.patch(f"{PODS}/{POD}", json=RECORDING, headers=MERGE_PATCH).status_code == 403
    for value in ("another record", None):
        with pytest.raises(ApiError, match="written by the GPU scheduler's extender alone"):
            cluster.client.patch("Pod", POD, {"metadata": {"annotations": {ASSIGNED_ANNOTATION: value}}})
    assert cluster.client.patch("Pod", POD, {"metadata": {"labels": {"team": "a"}}})


def test_the_extender_and_the_agents_are_told(rendered: tuple[Manifest, ...]) -> None:
    """By the settings that make them bind, and trust what is recorded."""
    environments = {
        manifest["metadata"]["name"]: {
            variable["name"]: variable.get("value")
            for container in [
                *manifest["spec"]["template"]["spec"].get("initContainers", ()),
                *manifest["spec"]["template"]["spec"]["containers"],
            ]
            for variable in container.get("env", ())
        }
        for manifest in rendered
        if manifest["kind"] in {"Deployment", "DaemonSet"}
    }
    assert environments["gpu-scheduler"]["GPU_SCHEDULER_BIND"] == "true"
    assert environments["gpu-topology-agent"]["TOPOLOGY_AGENT_TRUST_RECORDS"] == "true"
    [config] = [manifest for manifest in rendered if manifest["kind"] == "ConfigMap"]
    assert yaml.safe_load(config["data"]["scheduler-config.yaml"])["extenders"][0]["bindVerb"] == "bind"
