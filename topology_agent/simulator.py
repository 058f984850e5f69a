"""Plays simulated nodes: follows the pods that are bound to them, and publishes who has which GPU."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import structlog

from gpu_topology.contract import Allocation, encode_topology, topology_hash
from gpu_topology.errors import PlacementError
from gpu_topology.placement import tables_of
from gpu_topology.placement.vendor import vendor_scores
from gpu_topology.request import bound_request_of, has_ended
from gpu_topology.topology import NodeTopology
from topology_agent.allocators import BestAllocator, VendorAllocator
from topology_agent.labels import labels_of
from topology_agent.pods import assigned_of
from topology_agent.report import NodeReport, state_in
from topology_agent.simulation import Allocator, BoundPod, SimulatedNode

_log = structlog.get_logger(__name__)


class Simulator:
    """The handler of a watch of pods, for the nodes that are simulated here.

    Attributes:
        nodes: by name.
    """

    def __init__(
        self,
        topologies: Mapping[str, NodeTopology],
        publish: Callable[[str, NodeReport], None],
        *,
        allocation: Allocation,
        seed: int,
        trust_records: bool = False,
    ) -> None:
        """Play these nodes.

        Args:
            topologies: of the nodes, by name.
            publish: called with a node's name and what it has to say from now on.
            allocation: how the nodes choose among their free GPUs.
            seed: of the vendor's random choices.
            trust_records: whether nodes that enforce give pods what is recorded on them.
        """
        self._keeps_to_records = trust_records and allocation is Allocation.BEST
        self._uuids = {name: [gpu.uuid for gpu in topology.gpus] for name, topology in topologies.items()}
        self._allocation = allocation
        self._publish = publish
        self._labels = {name: labels_of(topology) for name, topology in topologies.items()}
        self._topologies = {name: encode_topology(topology) for name, topology in topologies.items()}
        self.nodes = {
            name: SimulatedNode(len(topology), _allocator(topology, allocation, Random(f"{seed}/{name}")))  # noqa: S311  no secret
            for name, topology in topologies.items()
        }

    def report(self, name: str) -> NodeReport:
        """What a node has to say at present."""
        return NodeReport(self._topologies[name], self.nodes[name].occupancy, self._allocation, self._labels[name])

    def restore(self, name: str, annotations: Mapping[str, str]) -> None:
        """Let a node begin with the holders that its annotations name, so that no pod's GPUs change with a restart."""
        state = state_in(annotations)
        if state is None:
            return
        if state.topology_hash != topology_hash(self._topologies[name]):
            _log.warning("the holders in the node's annotation have GPUs of other hardware", node=name)
            return
        try:
            self.nodes[name].restore(state.held)
        except PlacementError as error:
            _log.warning("the holders in the node's annotation are left aside", node=name, error=str(error))

    # What a watch of pods says.

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """The pods that exist, bound in the order in which the scheduler bound them."""
        running = [pod for pod in objects if self._is_ours(pod) and not has_ended(pod)]
        alive = {pod["metadata"]["uid"] for pod in running}
        for name, node in self.nodes.items():
            for uid in node.pods - alive:
                node.release(uid)
            self._publish(name, self.report(name))
        for pod in sorted(running, key=binding_order):
            self.changed(pod)

    def changed(self, obj: dict[str, Any]) -> None:
        """A pod is new or has changed: perhaps it is bound now, or has ended."""
        if not self._is_ours(obj):
            return
        if has_ended(obj):
            self.deleted(obj)
            return
        name = obj["spec"]["nodeName"]
        node = self.nodes[name]
        pod = bound_pod(obj, self._recorded(obj))
        if pod.uid in node.pods:
            return
        try:
            held = node.bind(pod)
        except PlacementError as error:
            _log.warning("the node cannot admit the pod", node=name, pod=pod.name, error=str(error))
            return
        if held:
            _log.debug("handed out", node=name, pod=pod.name, gpus=[holder.gpus for holder in held])
            self._publish(name, self.report(name))

    def deleted(self, obj: dict[str, Any]) -> None:
        """A pod is gone."""
        if not self._is_ours(obj):
            return
        name = obj["spec"]["nodeName"]
        if self.nodes[name].release(obj["metadata"]["uid"]):
            self._publish(name, self.report(name))

    def _recorded(self, pod: Mapping[str, Any]) -> Mapping[str, tuple[int, ...]]:
        """Container to the GPUs that are recorded for it; one with a GPU that is not the node's is left out."""
        uuids = self._uuids[pod["spec"]["nodeName"]]
        recorded = assigned_of(pod).items() if self._keeps_to_records else ()
        return {name: tuple(sorted(map(uuids.index, named))) for name, named in recorded if named <= set(uuids)}

    def _is_ours(self, pod: Mapping[str, Any]) -> bool:
        return pod["spec"].get("nodeName") in self.nodes


def bound_pod(pod: Mapping[str, Any], recorded: Mapping[str, tuple[int, ...]]) -> BoundPod:
    """A pod of the API server as a simulated node knows it; wishes that cannot be read count as none."""
    metadata = pod["metadata"]
    return BoundPod(f"{metadata['namespace']}/{metadata['name']}", metadata["uid"], bound_request_of(pod), recorded)


def binding_order(pod: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Sorts pods by when they were bound, as exactly as the API server tells: to the second; then by creation."""
    metadata = pod["metadata"]
    conditions = (pod.get("status") or {}).get("conditions") or []
    bound = (entry.get("lastTransitionTime") for entry in conditions if entry.get("type") == "PodScheduled")
    return next(bound, None) or "", metadata.get("creationTimestamp") or "", metadata["namespace"], metadata["name"]


def _allocator(topology: NodeTopology, allocation: Allocation, random: Random) -> Allocator:
    if allocation is Allocation.BEST:
        return BestAllocator(tables_of(topology))
    return VendorAllocator(vendor_scores(topology), random)
