"""The manifests, applied to a real kube-apiserver as the documentation says, grant what is needed and no more."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from extender.failing import REPORTER
from gpu_topology.contract import STATE_ANNOTATION
from kubernetes_api import Cluster, NodeEvent, PodEvent, PodReference, Resource
from tests.control_plane import objects
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.ports import LOOPBACK, free_ports
from tests.control_plane.processes import ChildProcess
from tests.manifests import files
from tests.manifests.files import BASE, REPOSITORY, Manifest, pod_specs, render, scheduler_config
from tests.manifests.kubectl import Kubectl
from tests.manifests.service_accounts import AGENT, AGENT_NAMESPACE, MERGE_PATCH, Account

NODE = "manifests-node"
POD = "manifests-pod"
BINDING = {
    "apiVersion": "v1",
    "kind": "Binding",
    "metadata": {"name": POD},
    "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
}


@pytest.fixture
def node(kubernetes_client: Client) -> None:
    """A node with eight GPUs and nothing on it."""
    kubernetes_client.create(objects.node(NODE, gpus=8))


@pytest.fixture
def pod(kubernetes_client: Client) -> None:
    """A pod without GPUs that asks our scheduler."""
    kubernetes_client.create(objects.pod(POD, scheduler_name="gpu-scheduler"))


def test_everything_is_applied_without_a_warning_and_applied_again_unchanged(kubectl: Kubectl) -> None:
    """What the API server keeps is what the manifests say."""
    again = kubectl("apply", "--server-side", "-k", str(BASE))
    assert (again.returncode, again.stderr) == (0, "")
    assert len(again.stdout.splitlines()) == len(render(BASE))
    difference = kubectl("diff", "--server-side", "-k", str(BASE))
    assert difference.returncode == 0, difference.stdout + difference.stderr


@pytest.mark.parametrize(
    "example", sorted((REPOSITORY / "manifests/examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_is_admitted(kubectl: Kubectl, example: Path) -> None:
    """As far as the API server looks, without creating it."""
    done = kubectl("create", "--dry-run=server", "-f", str(example))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "namespace"), [("gpu-scheduler", "gpu-scheduler"), ("gpu-topology-agent", "gpu-topology-agent")]
)
def test_the_pods_pass_the_admission_of_their_namespace(kubectl: Kubectl, name: str, namespace: str) -> None:
    """Pod Security and the priority class let them in."""
    done = kubectl("create", "--dry-run=server", "-f-", manifest=pod_of(name, namespace))
    assert done.returncode == 0, done.stderr


def test_the_schedulers_namespace_admits_no_pod_with_a_host_path(kubectl: Kubectl) -> None:
    """Why the agent has a namespace of its own."""
    done = kubectl("create", "--dry-run=server", "-f-", manifest=pod_of("gpu-topology-agent", "gpu-scheduler"))
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted' in done.stderr
    assert "hostPath" in done.stderr


def pod_of(name: str, namespace: str) -> Manifest:
    """A pod as the Deployment or DaemonSet of this name would create it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(pod_specs(render(BASE)))[name],
    }


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("page", ["annotations.md", "troubleshooting.md"])
def test_the_documented_command_prints_a_nodes_state(control_plane: ControlPlane, kubectl: Kubectl, page: str) -> None:
    """The path through the annotations is written as kubectl wants it."""
    control_plane.client.patch("Node", NODE, {"metadata": {"annotations": {STATE_ANNOTATION: "the state"}}})
    commands = "".join(files.fenced_blocks(REPOSITORY / "docs" / page, "sh"))
    paths = re.findall(r"kubectl get node NODE -o (jsonpath='{.metadata.annotations[^']*')", commands)
    assert paths
    for path in paths:
        assert kubectl("get", "node", NODE, "-o", path.replace("'", "")).stdout == "the state"


@pytest.mark.usefixtures("kubectl", "node")
def test_kube_scheduler_leads_and_binds_with_the_rights_of_the_manifests(
    control_plane: ControlPlane, kubernetes_client: Client, extender: str
) -> None:
    """As the service accounts, it takes its own lease, asks the extender, binds, and nothing is forbidden."""
    config = scheduler_config()
    config["extenders"][0]["urlPrefix"] = extender
    kubeconfig = control_plane.service_account_kubeconfig("gpu-scheduler", "scheduler")
    with control_plane.start_scheduler(config, kubeconfig=kubeconfig, name="manifests-scheduler") as scheduler:
        kubernetes_client.wait_for(
            "Lease", "gpu-scheduler", is_held, namespace="gpu-scheduler", api_version="coordination.k8s.io/v1"
        )
        kubernetes_client.create(objects.pod(POD, gpus=2, scheduler_name="gpu-scheduler"))
        bound = kubernetes_client.wait_for("Pod", POD, objects.is_bound)
        log = scheduler.log.read_text()
    assert bound["spec"]["nodeName"] == NODE
    assert "forbidden" not in log


@pytest.fixture
def extender(control_plane: ControlPlane, kubectl: Kubectl, tmp_path: Path) -> Iterator[str]:  # noqa: ARG001  the accounts
    """The real extender as its service account; the URL of its verbs."""
    verbs, probes = free_ports(2)
    kubeconfig = control_plane.service_account_kubeconfig("gpu-scheduler", "extender")
    options = [f"--verbs-port={verbs}", f"--probes-host={LOOPBACK}", f"--probes-port={probes}"]
    command = [sys.executable, "-m", "extender", f"--kubeconfig={kubeconfig}", *options]
    with ChildProcess("extender", command, log=tmp_path / "extender.log", ready=lambda: answers(probes)):
        yield f"http://{LOOPBACK}:{verbs}"


def answers(probes: int) -> bool:
    """Whether an extender says that its books are complete."""
    try:
        return httpx.get(f"http://{LOOPBACK}:{probes}/readyz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def is_held(lease: Manifest) -> bool:
    """Whether a scheduler leads."""
    return bool(lease["spec"].get("holderIdentity"))


def test_the_scheduler_may_not_touch_the_lease_of_the_default_one_elsewhere(account: Account) -> None:
    """Its lease is the only one in its namespace that it may renew."""
    scheduler = account("gpu-scheduler", "scheduler")
    leases = "/apis/coordination.k8s.io/v1/namespaces/gpu-scheduler/leases"
    assert scheduler.get(f"{leases}/gpu-scheduler").status_code in {200, 404}
    assert scheduler.get(f"{leases}/another").status_code == 403


def test_the_scheduler_may_read_whom_to_trust(account: Account) -> None:
    """Without it, kube-scheduler refuses everybody who asks for its metrics."""
    path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    assert account("gpu-scheduler", "scheduler").get(path).status_code == 200


@pytest.mark.usefixtures("node")
def test_the_agent_may_watch_nodes_and_pods(account: Account) -> None:
    """What it writes is shown in `test_agent_policy.py`."""
    agent = account(AGENT_NAMESPACE, AGENT)
    assert agent.get(f"/api/v1/nodes/{NODE}").status_code == 200
    may_follow(agent, "nodes", f"metadata.name={NODE}")
    may_follow(agent, "pods", f"spec.nodeName={NODE}")


@pytest.mark.usefixtures("node", "pod")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/api/v1/nodes/{NODE}"),
        ("PATCH", f"/api/v1/nodes/{NODE}/status"),
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/namespaces/gpu-scheduler/secrets/extender-token"),
        ("GET", f"/api/v1/namespaces/default/pods/{POD}"),
        ("PATCH", f"/api/v1/namespaces/default/pods/{POD}"),
        ("DELETE", f"/api/v1/namespaces/default/pods/{POD}"),
        ("POST", f"/api/v1/namespaces/default/pods/{POD}/binding"),
        ("GET", "/apis/events.k8s.io/v1/namespaces/default/events"),
        ("PATCH", "/apis/events.k8s.io/v1/namespaces/default/events/another"),
        ("POST", "/apis/events.k8s.io/v1/namespaces/gpu-scheduler/events"),
        ("GET", f"/apis/coordination.k8s.io/v1/namespaces/gpu-topology-agent/leases/{NODE}"),
        ("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/gpu-topology-agent/leases/{NODE}"),
        ("PATCH", "/apis/coordination.k8s.io/v1/namespaces/gpu-scheduler/leases/gpu-scheduler"),
        ("PATCH", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"),
    ],
)
def test_the_agent_may_do_nothing_else(account: Account, method: str, path: str) -> None:
    """It runs as uid 0 on every GPU node: what it cannot do matters."""
    refused(account(AGENT_NAMESPACE, AGENT), method, path)


@pytest.mark.parametrize(
    ("resource", "selector"),
    [("nodes", ""), ("pods", "spec.nodeName!="), (Resource.DEVICE_CLASSES.value, "")],
    ids=["nodes", "pods", "device classes"],
)
def test_the_extender_may_follow_what_its_books_are_kept_from(account: Account, resource: str, selector: str) -> None:
    """Nothing of it may be missing."""
    may_follow(account("gpu-scheduler", "extender"), resource, selector)


@pytest.mark.usefixtures("node")
async def test_the_extender_may_say_that_a_node_is_left_out(control_plane: ControlPlane, kubectl: Kubectl) -> None:  # noqa: ARG001  makes the accounts
    """In the namespace of events about nodes."""
    event = NodeEvent("GpuNodeLeftOut", "LeftOut", "5 GPU pods failed here", is_warning=True, reporter=REPORTER)
    async with await Cluster.connect(control_plane.service_account_kubeconfig("gpu-scheduler", "extender")) as cluster:
        await cluster.create_event(NODE, event)


@pytest.mark.parametrize("namespace", ["default", "gpu-scheduler"])
async def test_the_extender_may_say_of_a_pod_anywhere_that_it_waits_and_say_so_again(
    control_plane: ControlPlane,
    kubectl: Kubectl,  # noqa: ARG001  makes the accounts
    namespace: str,
) -> None:
    """In the namespace of the pod."""
    event = PodEvent(
        f"{POD}.0123",
        PodReference(namespace, POD, "uid"),
        "WaitsForGpus",
        "Filtering",
        "It waits.",
        False,
        REPORTER,
        "replica-0",
    )
    async with await Cluster.connect(control_plane.service_account_kubeconfig("gpu-scheduler", "extender")) as cluster:
        await cluster.create_pod_event(event)
        await cluster.repeat_pod_event(event, 2)


def may_follow(connection: httpx.Client, resource: str, selector: str) -> None:
    """List and watch a resource: of the core group by its name, of another by its path."""
    query = {"fieldSelector": selector, "timeoutSeconds": "1"}
    path = resource if resource.startswith("/") else f"/api/v1/{resource}"
    assert connection.get(path, params=query).status_code == 200
    with connection.stream("GET", path, params=query | {"watch": "true"}) as answer:
        assert answer.status_code == 200


@pytest.mark.usefixtures("node", "pod")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/v1/namespaces/default/pods/{POD}"),
        ("POST", f"/api/v1/namespaces/default/pods/{POD}/binding"),
        ("POST", "/api/v1/namespaces/default/bindings"),
        ("DELETE", f"/api/v1/namespaces/default/pods/{POD}"),
        ("PATCH", f"/api/v1/namespaces/default/pods/{POD}"),
        ("PATCH", f"/api/v1/nodes/{NODE}"),
        ("DELETE", f"/api/v1/nodes/{NODE}"),
        ("GET", "/api/v1/secrets"),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/gpu-scheduler/leases/gpu-scheduler"),
        ("GET", "/apis/events.k8s.io/v1/namespaces/default/events"),
        ("DELETE", "/apis/events.k8s.io/v1/namespaces/default/events/another"),
        ("POST", "/api/v1/namespaces/default/events"),
        ("GET", "/apis/resource.k8s.io/v1/deviceclasses/gpu.nvidia.com"),
        ("GET", "/apis/resource.k8s.io/v1/resourceclaims"),
        ("GET", "/apis/resource.k8s.io/v1/resourceslices"),
    ],
)
def test_the_extender_may_do_nothing_else(account: Account, method: str, path: str) -> None:
    """Though it shares a pod with the scheduler, it has none of the scheduler's rights."""
    refused(account("gpu-scheduler", "extender"), method, path)


def refused(connection: httpx.Client, method: str, path: str) -> None:
    """Send a request that would be valid from somebody else, and see it forbidden."""
    body = {"POST": BINDING, "PATCH": {"metadata": {"annotations": {"example": "true"}}}}.get(method)
    headers = MERGE_PATCH if method == "PATCH" else None
    answer = connection.request(method, path, json=body, headers=headers)
    assert answer.status_code == 403, answer.text
