"""The agent on a node with a real kubelet: what it publishes is the truth, or says that it may not be."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gpu_topology.contract import NodeState
from tests.control_plane.client import Client, Object
from tests.control_plane.processes import ChildProcess
from tests.fake_nvml.machine import load
from tests.kubelet.agent import published_state, published_topology, topology_agent
from tests.kubelet.conftest import NodeOf
from tests.kubelet.gpu_node import GpuNode

DGX_1V = load("dgx-1v")


@pytest.fixture
def gpu_node(gpu_node_of: NodeOf) -> GpuNode:
    """A node with two pods that hold five of its eight GPUs."""
    gpu_node = gpu_node_of(DGX_1V)
    gpu_node.start("two", 2)
    gpu_node.start("three", 3)
    return gpu_node


@pytest.fixture(autouse=True)
def agent(gpu_node: GpuNode, tmp_path: Path) -> Iterator[ChildProcess]:
    """Its agent."""
    with topology_agent(gpu_node, empty_sysfs=tmp_path) as agent:
        yield agent


def test_the_agent_publishes_the_links_and_who_holds_what(gpu_node: GpuNode) -> None:
    node = wait_until_published(gpu_node, lambda state: is_the_truth(gpu_node, state))
    assert published_topology(node) == DGX_1V.topology()


def test_what_is_published_follows_pods_that_come_and_go(gpu_node: GpuNode) -> None:
    gpu_node.start("one", 1)
    wait_until_published(gpu_node, lambda state: is_the_truth(gpu_node, state))
    gpu_node.end("three")
    wait_until_published(gpu_node, lambda state: is_the_truth(gpu_node, state) and len(state.free or ()) == 5)


def test_a_gpu_with_a_fatal_error_is_published_as_unhealthy(gpu_node: GpuNode) -> None:
    broken = gpu_node.free()[0]
    gpu_node.driver.report_xid(broken)
    wait_until_published(gpu_node, lambda state: broken in state.unhealthy and broken not in (state.free or ()))


@pytest.mark.parametrize("disturbance", ["short", "noticed", "agent, too"])
def test_held_gpus_are_never_published_as_free_while_the_kubelet_restarts(
    gpu_node: GpuNode, agent: ChildProcess, kubernetes_client: Client, disturbance: str
) -> None:
    """For a moment after its start a kubelet lists no pods, though they still hold their GPUs."""
    before = wait_until_published(gpu_node, lambda state: is_the_truth(gpu_node, state))
    pods = gpu_node.held()
    gpu_node.node.kubelet.kill()
    if disturbance == "noticed":
        wait_until_published(gpu_node, lambda state: state.stale is not None)
    if disturbance == "agent, too":
        agent.kill()
        agent.start()
    gpu_node.node.kubelet.start()
    gpu_node.wait_until_offered(len(DGX_1V.uuids))
    gpu_node.wait_until_held(lambda now: now == pods)
    gpu_node.start("after", 1)
    after = wait_until_published(gpu_node, lambda state: is_the_truth(gpu_node, state))
    held = {gpu for gpus in pods.values() for gpu in gpus}
    states = published_between(kubernetes_client, before, after)
    assert all(held.isdisjoint(state.free or ()) for state in states)
    assert [state.sequence for state in states] == sorted(state.sequence for state in states)


def is_the_truth(gpu_node: GpuNode, state: NodeState) -> bool:
    """Whether a state is up to date and says what the kubelet says."""
    held = {holder.pod.removeprefix("default/"): holder.gpus for holder in state.held}
    return state.stale is None and state.free == gpu_node.free() and held == gpu_node.held()


def wait_until_published(gpu_node: GpuNode, predicate: Callable[[NodeState], bool]) -> Object:
    """Wait until the state on a Node is as wanted; return the Node as it is then."""

    def published(node: Object) -> bool:
        state = published_state(node)
        return state is not None and predicate(state)

    return gpu_node.node.control_plane.client.wait_for("Node", gpu_node.node.name, published, seconds=60)


def published_between(client: Client, first: Object, last: Object) -> list[NodeState]:
    """Every state that has stood on a Node after one of its versions and until another."""
    name, version = first["metadata"]["name"], first["metadata"]["resourceVersion"]
    states = []
    with closing(client.watch("Node", field_selector=f"metadata.name={name}", resource_version=version)) as events:
        for _, node in events:
            state = published_state(node)
            assert state is not None
            states.append(state)
            if node["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]:
                return states
    raise AssertionError("The last version of the node is not among those watched.")
