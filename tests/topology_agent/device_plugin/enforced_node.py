"""A real node whose kubelet is made to take the agent's choice."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpu_topology.contract import Allocation
from tests.control_plane.client import Object
from tests.control_plane.processes import ChildProcess
from tests.kubelet.agent import published_state, topology_agent
from tests.kubelet.device_plugin import nvidia_device_plugin
from tests.kubelet.gpu_node import GpuNode
from topology_agent.device_plugin.proxy import REGISTRATION_SOCKET_NAME


@contextmanager
def enforcing(
    gpu_node: GpuNode, empty_sysfs: Path, *, trust_records: bool = False
) -> Iterator[tuple[ChildProcess, ChildProcess]]:
    """Run the agent and, behind it, NVIDIA's plugin on a node that has none yet.

    Args:
        gpu_node: where.
        empty_sysfs: as for `topology_agent`.
        trust_records: whether the sets that are recorded on pods are given.

    Yields:
        The agent and the plugin, once the node says that its GPUs are given as scored.
    """
    options = ["--enforce", "--device-plugin-folder", str(gpu_node.node.device_plugins)]
    if trust_records:
        options.append("--trust-records")
    agent = topology_agent(gpu_node, empty_sysfs, options)
    plugin = nvidia_device_plugin(gpu_node.node, gpu_node.driver, kubelet_socket=REGISTRATION_SOCKET_NAME)
    with agent, plugin:
        wait_until_enforced(gpu_node)
        yield agent, plugin


def wait_until_enforced(gpu_node: GpuNode) -> None:
    """Wait until the node publishes that its GPUs are given as scored, and all are offered."""

    def enforced(node: Object) -> bool:
        state = published_state(node)
        return state is not None and state.allocation is Allocation.BEST

    gpu_node.node.control_plane.client.wait_for("Node", gpu_node.node.name, enforced, seconds=60)
    gpu_node.wait_until_offered(len(gpu_node.topology))
