"""A cluster in memory: nodes whose agents are simulated, pods that come and go, and nothing but real code deciding."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.comparison import Got
from benchmarks.synthetic_cluster import node
from gpu_topology.contract import Allocation
from gpu_topology.placement import LinkTables, mask_of, tables_of
from gpu_topology.topology import NodeTopology
from simulator.kube_scheduler import NOTHING, Resources, fits
from topology_agent.report import NodeReport
from topology_agent.simulation import with_uuids
from topology_agent.simulator import Simulator

NODE_CPU_MILLIS = 128_000
NODE_MEMORY_MIB = 1024 * 1024
POD_CPU_MILLIS_PER_GPU = 8_000
POD_MEMORY_MIB_PER_GPU = 64 * 1024


class SimulatedCluster:
    """Nodes, and the pods on them.

    Attributes:
        capacity: what each node has to give, by name.
        requested: what each node's pods have been promised, by name.

    Args:
        machines: topologies of the nodes, by name.
        allocation: who chooses a pod's GPUs inside a node.
        seed: of the vendor's random choices.
        publish: called with a node in the API server's JSON form whenever its agent has published something.
    """

    def __init__(
        self,
        machines: Mapping[str, NodeTopology],
        allocation: Allocation,
        seed: int,
        publish: Callable[[dict[str, Any]], None],
    ) -> None:
        self._topologies = {name: with_uuids(machine, name) for name, machine in machines.items()}
        self._annotations: dict[str, dict[str, str]] = {name: {} for name in machines}
        self._publish = publish
        self._pods: dict[str, dict[str, Any]] = {}
        self.capacity = {
            name: Resources(NODE_CPU_MILLIS, NODE_MEMORY_MIB, len(machine)) for name, machine in machines.items()
        }
        self.requested = dict.fromkeys(machines, NOTHING)
        self._simulator = Simulator(self._topologies, self._write, allocation=allocation, seed=seed)
        self._simulator.replaced([])

    def feasible(self, gpus: int) -> list[str]:
        """The nodes on which NodeResourcesFit lets a pod with so many GPUs pass."""
        return [name for name in self.capacity if fits(self.capacity[name], self.requested[name], resources_of(gpus))]

    def bind(self, pod: dict[str, Any], node_name: str, gpus: int) -> Got:
        """Bind a pod to a node, which hands out its GPUs and publishes."""
        bound = {**pod, "spec": {**pod["spec"], "nodeName": node_name}}
        uid = pod["metadata"]["uid"]
        self._pods[uid] = bound
        self.requested[node_name] += resources_of(gpus)
        self._simulator.changed(bound)
        held = tuple(
            gpu
            for holder in self._simulator.nodes[node_name].occupancy.held
            if holder.pod_uid == uid
            for gpu in holder.gpus
        )
        return Got(node_name, held, self.bandwidth_gbps(node_name, held))

    def release(self, uid: str, gpus: int) -> None:
        """End a pod."""
        bound = self._pods.pop(uid)
        self.requested[bound["spec"]["nodeName"]] -= resources_of(gpus)
        self._simulator.deleted(bound)

    def bandwidth_gbps(self, node_name: str, gpus: tuple[int, ...]) -> float:
        """GB/s of the best ring through a set of a node's GPUs; 0 for fewer than two."""
        if len(gpus) < 2:  # noqa: PLR2004  a link has two ends
            return 0.0
        return self.tables(node_name).worth(mask_of(gpus)).bandwidth_gbps

    def tables(self, node_name: str) -> LinkTables:
        """What sets of a node's GPUs are worth."""
        return tables_of(self._topologies[node_name])

    def _write(self, name: str, report: NodeReport) -> None:
        changes = report.changes(self._annotations[name])
        if changes:
            self._annotations[name] |= changes
            self._publish(node(name, len(self._topologies[name]), dict(self._annotations[name])))


def resources_of(gpus: int) -> Resources:
    """What a training pod with so many GPUs asks for besides."""
    return Resources(POD_CPU_MILLIS_PER_GPU * gpus, POD_MEMORY_MIB_PER_GPU * gpus, gpus)
