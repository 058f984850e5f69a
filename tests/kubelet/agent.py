"""The agent as a program on a node: it reads the fake driver and the real kubelet, and publishes on the real Node."""

import sys
from collections.abc import Sequence
from pathlib import Path

from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    NodeState,
    check_state,
    decode_state,
    decode_topology,
)
from gpu_topology.topology import NodeTopology
from tests.control_plane.client import Object
from tests.control_plane.processes import ChildProcess
from tests.kubelet.gpu_node import GpuNode


def topology_agent(
    gpu_node: GpuNode, empty_sysfs: Path, arguments: Sequence[str] = (), *, poll_seconds: float | None = 0.1
) -> ChildProcess:
    """The agent of a node, to be started; it is ready when it has published anything.

    Args:
        gpu_node: where it runs.
        empty_sysfs: an empty folder that stands for sysfs: NUMA nodes and network cards of this machine are none of
            the node's.
        arguments: further options.
        poll_seconds: between two looks at the kubelet; None for the agent's own default.
    """
    node = gpu_node.node
    options = {
        "--node-name": node.name,
        "--kubeconfig": str(node.control_plane.kubeconfig()),
        "--pod-resources-socket": str(node.pod_resources_socket),
        "--sysfs-root": str(empty_sysfs),
    }
    if poll_seconds is not None:
        options["--poll-seconds"] = str(poll_seconds)
    command = [sys.executable, "-m", "topology_agent", *(word for option in options.items() for word in option)]
    return ChildProcess(
        f"the agent of {node.name}",
        [*command, *arguments],
        log=node.folder / "agent.log",
        ready=lambda: published_state(node.get()) is not None,
        environment=gpu_node.driver.environment,
    )


def published_state(node: Object) -> NodeState | None:
    """What is published on a Node of its free GPUs, in the terms of the topology published there; None if nothing is.

    Raises:
        MalformedError: it speaks of another topology.
    """
    annotations = node["metadata"].get("annotations", {})
    if STATE_ANNOTATION not in annotations:
        return None
    state = decode_state(annotations[STATE_ANNOTATION])
    check_state(state, published_topology(node), annotations[TOPOLOGY_ANNOTATION])
    return state


def published_topology(node: Object) -> NodeTopology:
    """The topology that is published on a Node."""
    return decode_topology(node["metadata"]["annotations"][TOPOLOGY_ANNOTATION])
