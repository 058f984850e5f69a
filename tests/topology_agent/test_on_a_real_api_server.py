"""`python -m topology_agent` with the rights of its manifests, a real kube-apiserver, and hardware of the fake NVML."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_topology.contract import STATE_ANNOTATION, NodeState, decode_state
from gpu_topology.cordon import CORDON_ANNOTATION, CORDONED
from tests.control_plane import objects
from tests.control_plane.audit import Audit, Request
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.processes import ChildProcess
from tests.fake_nvml import machine
from tests.manifests.files import BASE, render
from tests.manifests.service_accounts import AGENT, AGENT_NAMESPACE, agent_pod
from tests.topology_agent.fake_kubelet import FakeKubelet
from topology_agent.labels import GPU_COUNT_LABEL, INTERCONNECT_LABEL
from topology_agent.lease import DURATION_SECONDS

DGX = machine.load("dgx-1v")
NODE = "agent-node"
OLD_RIGHTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: old-agent}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get, list, watch, patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: old-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: old-agent}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: old-agent}]
"""


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """What is asked of the API server."""
    return Audit(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def control_plane(
    control_plane_programs: None,  # noqa: ARG001  for its skip
    audit: Audit,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ControlPlane]:
    """One of its own, since it writes down who asks for what."""
    with ControlPlane(tmp_path_factory.mktemp("agent"), apiserver_arguments=audit.arguments) as running:
        yield running


@pytest.fixture
async def kubelet(tmp_path: Path) -> AsyncIterator[FakeKubelet]:
    """A kubelet that offers all GPUs, one of which a pod has."""
    async with FakeKubelet(tmp_path / "kubelet.sock") as kubelet:
        kubelet.allocatable = list(DGX.uuids)
        kubelet.pods = {"team/a": {"main": [DGX.uuids[1]]}}
        yield kubelet


@pytest.fixture
def agent_as(
    kubernetes_client: Client, kubelet: FakeKubelet, fake_library: Path, tmp_path: Path
) -> Callable[[Path], ChildProcess]:
    """The agent of a node, ready to be started with a kubeconfig."""
    kubernetes_client.create(objects.node(NODE, gpus=8))

    def agent(kubeconfig: Path) -> ChildProcess:
        options = {
            "node-name": NODE,
            "kubeconfig": kubeconfig,
            "pod-resources-socket": kubelet.socket,
            "sysfs-root": tmp_path,
            "poll-seconds": 0.2,
            "settle-seconds": 0,
        }
        return ChildProcess(
            "agent",
            [sys.executable, "-m", "topology_agent", *(f"--{name}={value}" for name, value in options.items())],
            log=tmp_path / "agent.log",
            ready=lambda: _is_published(kubernetes_client),
            environment={
                "LD_LIBRARY_PATH": str(fake_library),
                "FAKE_NVML_MACHINE": str(DGX.write(tmp_path / "machine")),
                "FAKE_NVML_XIDS": str(tmp_path / "xids"),
            },
        )

    return agent


@pytest.fixture
def manifests(kubernetes_client: Client) -> list[dict[str, Any]]:
    """Rights and policies of the agent, as applied."""
    return kubernetes_client.apply(manifest for manifest in render(BASE) if _is_of_the_agent(manifest))


@pytest.fixture
def agent(
    control_plane: ControlPlane,
    kubernetes_client: Client,
    manifests: list[dict[str, Any]],  # noqa: ARG001  the account
    agent_as: Callable[[Path], ChildProcess],
) -> ChildProcess:
    """The agent as its pod on the node is known to the API server."""
    kubernetes_client.create(agent_pod("agent-pod", NODE))
    return agent_as(control_plane.service_account_kubeconfig(AGENT_NAMESPACE, AGENT, pod="agent-pod"))


def _is_of_the_agent(manifest: dict[str, Any]) -> bool:
    metadata = manifest["metadata"]
    return AGENT_NAMESPACE in f"{metadata.get('namespace')} {metadata['name']}"


def _is_published(client: Client) -> bool:
    annotations = client.get("Node", NODE)["metadata"].get("annotations", {})
    return STATE_ANNOTATION in annotations and bool(decode_state(annotations[STATE_ANNOTATION]).held)


def state_of(node: dict[str, Any]) -> NodeState:
    return decode_state(node["metadata"]["annotations"][STATE_ANNOTATION])


async def test_health_cordon_labels_events_and_lease_reach_the_cluster_by_all_of_its_rights_and_no_others(
    agent: ChildProcess, kubernetes_client: Client, audit: Audit, manifests: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Whatever it asks for it is granted, and whatever it is granted it asks for."""
    # The kubelet serves from this event loop, so all that waits is done in threads.
    await asyncio.to_thread(agent.start)
    try:
        await asyncio.to_thread(_follow_a_day_in_the_life, kubernetes_client, tmp_path / "xids")
    finally:
        await asyncio.to_thread(agent.stop)
    log = agent.log.read_text()
    assert "forbidden" not in log
    assert "Traceback" not in log
    assert audit.requests_of(f"system:serviceaccount:{AGENT_NAMESPACE}:{AGENT}") == granted(manifests)


def granted(manifests: list[dict[str, Any]]) -> set[Request]:
    """What the roles allow."""
    return {
        Request(verb, group, resource, role["metadata"].get("namespace", ""))
        for role in manifests
        for rule in role.get("rules", ())
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


async def test_without_the_right_to_list_pods_the_agent_says_so_once_and_publishes_all_the_same(
    control_plane: ControlPlane,
    kubernetes_client: Client,
    agent_as: Callable[[Path], ChildProcess],
    kubelet: FakeKubelet,
) -> None:
    """As with the rights of an older version, which knew of nodes only."""
    await asyncio.to_thread(kubernetes_client.apply, OLD_RIGHTS)
    agent = agent_as(control_plane.kubeconfig("old-agent"))
    await asyncio.to_thread(agent.start)
    try:
        kubelet.pods = {}
        await asyncio.to_thread(kubernetes_client.wait_for, "Node", NODE, lambda node: not state_of(node).held)
    finally:
        await asyncio.to_thread(agent.stop)
    log = agent.log.read_text()
    assert log.count("may not list pods") == 1
    assert "Traceback" not in log


def _follow_a_day_in_the_life(client: Client, xids: Path) -> None:
    node = client.get("Node", NODE)
    assert node["metadata"]["labels"][INTERCONNECT_LABEL] == "nvlink-mesh"
    assert node["metadata"]["labels"][GPU_COUNT_LABEL] == "8"
    lease = client.get("Lease", NODE, AGENT_NAMESPACE, api_version="coordination.k8s.io/v1")
    assert lease["spec"]["leaseDurationSeconds"] == DURATION_SECONDS
    assert [owner["uid"] for owner in lease["metadata"]["ownerReferences"]] == [node["metadata"]["uid"]]

    cordon(client, f"0,1,{DGX.uuids[4]}")
    state = state_of(client.wait_for("Node", NODE, lambda node: bool(state_of(node).unhealthy)))
    assert state.unhealthy == dict.fromkeys([0, 1, 4], CORDONED)
    assert state.free == (2, 3, 5, 6, 7)
    assert [holder.gpus for holder in state.held] == [(1,)]

    xids.write_text("7 79\n")
    state = state_of(client.wait_for("Node", NODE, lambda node: 7 in state_of(node).unhealthy))
    assert state.free == (2, 3, 5, 6)

    cordon(client, "0,8")
    state = state_of(client.wait_for("Node", NODE, lambda node: 0 not in state_of(node).unhealthy))
    assert list(state.unhealthy) == [7]
    assert "fell off the bus" in until_told(client, "GpuLost")
    assert "names GPU 8, but the node has 8" in until_told(client, "GpuCordonUnreadable")


def cordon(client: Client, text: str) -> None:
    client.patch("Node", NODE, {"metadata": {"annotations": {CORDON_ANNOTATION: text}}})


def until_told(client: Client, reason: str) -> str:
    """The note of an event about the node, as soon as there is one with this reason."""
    for _, event in client.watch("Event", "default", api_version="events.k8s.io/v1"):
        if event["reason"] == reason and event["regarding"]["name"] == NODE:
            return str(event["note"])
    raise TimeoutError(reason)
