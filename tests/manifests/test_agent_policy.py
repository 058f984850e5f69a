"""The admission policies of the agents on a real kube-apiserver: each writes its own keys on its own node alone."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import yaml

from gpu_topology.cordon import CORDON_ANNOTATION
from kubernetes_api.created import NodeEvent, lease_renewal, new_event, new_lease
from tests.control_plane import objects
from tests.control_plane.client import Client
from tests.manifests.files import BASE, Manifest
from tests.manifests.policies import wait_until_refused
from tests.manifests.service_accounts import AGENT, AGENT_NAMESPACE, MERGE_PATCH, Account, agent_pod
from topology_agent.labels import GPU_COUNT_LABEL, OWN_LABELS
from topology_agent.publisher import OWN_KEYS

NODE = "own-node"
OTHER = "other-node"
OWN = {"annotations": dict.fromkeys(OWN_KEYS, "{}"), "labels": dict.fromkeys(OWN_LABELS, "8")}
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{AGENT_NAMESPACE}/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"

AT = datetime(2026, 1, 1, tzinfo=UTC)
DRY_RUN = {"dryRun": "All"}


@pytest.fixture
def nodes(kubernetes_client: Client) -> dict[str, Manifest]:
    """Two nodes, which bear what is not the agent's."""
    return {
        name: kubernetes_client.create(
            objects.node(name, labels={"team": "a"}, annotations={"team": "a", CORDON_ANNOTATION: "0"})
        )
        for name in (NODE, OTHER)
    }


@pytest.fixture
def agent(kubernetes_client: Client, account: Account, nodes: dict[str, Manifest]) -> httpx.Client:  # noqa: ARG001
    """The agent of a node, by the token of its pod, as soon as pod and policies are known to the API server."""
    kubernetes_client.create(agent_pod("agent-pod", NODE))
    agent = account(AGENT_NAMESPACE, AGENT, "agent-pod")
    wait_until_refused(lambda: patch(agent, NODE, {"labels": {"team": "b"}}, DRY_RUN).text, "changes no labels")
    wait_until_refused(lambda: patch(agent, OTHER, OWN, DRY_RUN).text, "writes about the node that it runs on")
    return agent


@pytest.fixture(params=["unbound", "pending"])
def nowhere(request: pytest.FixtureRequest, kubernetes_client: Client, account: Account) -> httpx.Client:
    """The agent by a token that tells no node: it is bound to no pod, or to one that has no node yet."""
    if request.param == "unbound":
        return account(AGENT_NAMESPACE, AGENT)
    kubernetes_client.create(agent_pod("pending-pod", None))
    return account(AGENT_NAMESPACE, AGENT, "pending-pod")


def patch(
    connection: httpx.Client, node: str, metadata: dict[str, Any], query: dict[str, str] | None = None
) -> httpx.Response:
    """Patch a node's metadata."""
    body = {"metadata": metadata}
    return connection.patch(f"/api/v1/nodes/{node}", params=query, json=body, headers=MERGE_PATCH)


def event_about(node: str) -> Manifest:
    """What an agent says about a node."""
    return new_event(node, NodeEvent("GpuLost", "TakenOut", "GPU 7 fell off the bus", is_warning=True), AT)


def test_the_policy_names_the_keys_that_the_agent_writes() -> None:
    """A key that the agent learns to write has to be added there."""
    policies = {
        policy["metadata"]["name"]: policy
        for policy in yaml.safe_load_all((BASE / "agent-policy.yaml").read_text())
        if policy["kind"] == "ValidatingAdmissionPolicy"
    }
    variables = policies["gpu-topology-agent-own-keys"]["spec"]["variables"]
    lists = {variable["name"]: variable["expression"] for variable in variables}
    assert tuple(yaml.safe_load(lists["ownAnnotations"])) == OWN_KEYS
    assert tuple(yaml.safe_load(lists["ownLabels"])) == OWN_LABELS


def test_the_agent_writes_and_removes_its_own_keys_on_its_own_node(agent: httpx.Client) -> None:
    """All else stays as it is."""
    written = patch(agent, NODE, OWN).json()["metadata"]
    assert OWN["annotations"].items() <= written["annotations"].items()
    assert OWN["labels"].items() <= written["labels"].items()
    nothing = {kind: dict.fromkeys(keys) for kind, keys in OWN.items()}
    left = patch(agent, NODE, nothing).json()["metadata"]
    assert left["annotations"] == {"team": "a", CORDON_ANNOTATION: "0"}
    assert left["labels"] == {"team": "a", "kubernetes.io/hostname": NODE}


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}, "and nothing else"),
        ({"spec": {"unschedulable": True}}, "and nothing else"),
        ({"metadata": {"finalizers": ["example.com/a"]}}, "and nothing else"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": OTHER, "uid": "u"}]}},
            "and nothing else",
        ),
        (
            {"metadata": {"annotations": {"another": "1"}}},
            "changes no annotations of a node but gpu-scheduler/topology",
        ),
        ({"metadata": {"annotations": {"team": "b"}}}, "changes no annotations"),
        ({"metadata": {"annotations": {"team": None}}}, "changes no annotations"),
        ({"metadata": {"annotations": {CORDON_ANNOTATION: None}}}, "changes no annotations"),
        ({"metadata": {"annotations": {CORDON_ANNOTATION: "0,1"}}}, "changes no annotations"),
        ({"metadata": {"annotations": None}}, "changes no annotations"),
        ({"metadata": {"labels": {"another": "1"}}}, "changes no labels of a node but gpu-scheduler/interconnect"),
        ({"metadata": {"labels": {"team": "b"}}}, "changes no labels"),
        ({"metadata": {"labels": {"team": None}}}, "changes no labels"),
        ({"metadata": {"labels": None}}, "changes no labels"),
        ({"metadata": {"labels": {GPU_COUNT_LABEL: "8", "team": "b"}}}, "changes no labels"),
    ],
    ids=str,
)
def test_the_agent_changes_nothing_else_of_its_own_node(
    agent: httpx.Client, change: dict[str, Any], refusal: str
) -> None:
    """Though RBAC would let it."""
    answer = agent.patch(f"/api/v1/nodes/{NODE}", json=change, headers=MERGE_PATCH)
    assert answer.status_code == 403, answer.text
    assert refusal in answer.json()["message"]


def test_the_agent_writes_nothing_on_another_node(agent: httpx.Client) -> None:
    """Not even its own keys: what stands there is the word of that node's own agent."""
    answer = patch(agent, OTHER, OWN)
    assert answer.status_code == 403
    assert f"the agent writes about the node that it runs on, not about {OTHER}" in answer.json()["message"]


def test_the_agent_keeps_its_own_lease_and_no_other(agent: httpx.Client, nodes: dict[str, Manifest]) -> None:
    """By the lease of another node's name it could let a dead agent look alive."""
    renewal = lease_renewal(NODE, 60, AT)
    assert agent.post(LEASES, json=new_lease(nodes[NODE], 60, AT)).is_success
    assert agent.patch(f"{LEASES}/{NODE}", json=renewal, headers=MERGE_PATCH).is_success
    refused_about(agent.post(LEASES, json=new_lease(nodes[OTHER], 60, AT)), OTHER)


def test_the_agent_renews_no_lease_of_another(
    agent: httpx.Client, nodes: dict[str, Manifest], kubernetes_client: Client
) -> None:
    """Nor one that is there already."""
    lease = new_lease(nodes[OTHER], 60, AT)
    lease["metadata"]["namespace"] = AGENT_NAMESPACE
    kubernetes_client.apply([lease])
    renewal = lease_renewal(OTHER, 60, AT)
    refused_about(agent.patch(f"{LEASES}/{OTHER}", json=renewal, headers=MERGE_PATCH), OTHER)


def test_the_agent_tells_of_its_own_node_and_of_no_other(agent: httpx.Client) -> None:
    """People act on events."""
    assert agent.post(EVENTS, json=event_about(NODE)).is_success
    refused_about(agent.post(EVENTS, json=event_about(OTHER)), OTHER)


def test_a_token_that_tells_no_node_writes_nothing(nowhere: httpx.Client, agent: httpx.Client) -> None:  # noqa: ARG001  for the policies
    """One that was stolen from a Secret, say, or made by hand."""
    wait_until_refused(lambda: patch(nowhere, NODE, OWN).text, "does not say on which node it runs")
    lease = {"metadata": {"name": NODE}, "spec": {"holderIdentity": NODE}}
    for answer in (nowhere.post(EVENTS, json=event_about(NODE)), nowhere.post(LEASES, json=lease)):
        assert answer.status_code == 403
        assert "does not say on which node it runs" in answer.json()["message"]


def test_others_may_change_nodes_as_before(agent: httpx.Client, kubernetes_client: Client) -> None:  # noqa: ARG001  for the policies
    """The policies look at the agents alone."""
    taint = {"key": "a", "effect": "NoSchedule"}
    kubernetes_client.patch("Node", OTHER, {"metadata": {"labels": {"team": "b"}}, "spec": {"taints": [taint]}})
    assert kubernetes_client.get("Node", OTHER)["spec"]["taints"] == [taint]


def refused_about(answer: httpx.Response, node: str) -> None:
    """See that a write was refused since it is about this node."""
    assert answer.status_code == 403, answer.text
    assert answer.json()["message"].endswith(f"the agent writes about the node that it runs on, not about {node}")
