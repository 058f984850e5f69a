"""kube-scheduler with the extender: the ledger, filter and prioritize of the service itself, without HTTP in between.

What the agents publish reaches the ledger as in a cluster, as annotations of nodes, as soon as a kubelet has handed out
or taken back GPUs.
"""

from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias
from zlib import crc32

from extender.filter import filter_nodes
from extender.ledger import Ledger
from extender.prioritize import prioritize_nodes
from extender.settings import Settings
from gpu_topology.contract import Allocation, Holder, encode_topology
from gpu_topology.placement import gpus_of
from gpu_topology.request import GPU_RESOURCE, ContainerKind, GpuRequest
from simulator.cluster import Cluster, Held, Node
from simulator.engine import Choice
from simulator.kube_scheduler import EXTENDER_WEIGHT, Resources, default_score, total_score
from simulator.policies.base import highest
from simulator.policies.kubernetes import most_allocated
from topology_agent.occupancy import Occupancy
from topology_agent.report import NodeReport
from topology_agent.simulation import BoundPod, holders_of, with_uuids

MOST_CANDIDATES: Final[int] = Settings.model_fields["max_candidates"].default
"""How many nodes filter passes on at most: the extender's default."""


InTreeScore: TypeAlias = Callable[[Resources, Resources, Resources], int]


class Extended:
    """kube-scheduler with the extender.

    Args:
        seed: of kube-scheduler's ties.
        allocation: who chooses the GPUs inside the nodes, as the agents publish it.
        in_tree: the score of kube-scheduler's own plugins, from a node's capacity, what its pods ask for, and the pod.
        max_candidates: how many nodes filter passes on at most; 0: all.
    """

    def __init__(
        self,
        seed: int,
        allocation: Allocation,
        in_tree: InTreeScore = default_score,
        max_candidates: int = MOST_CANDIDATES,
    ) -> None:
        self._random = Random(seed)
        self._in_tree = in_tree
        self._agents = _Agents(allocation)
        self._max_candidates = max_candidates
        self._ledger = Ledger()

    @classmethod
    def enforcing(cls, seed: int) -> "Extended":
        """On nodes that enforce this project's choice."""
        return cls(seed, Allocation.BEST)

    @classmethod
    def advising(cls, seed: int) -> "Extended":
        """On nodes where the vendor's device plugin chooses."""
        return cls(seed, Allocation.VENDOR)

    @classmethod
    def packing(cls, seed: int) -> "Extended":
        """On nodes that enforce this project's choice, with NodeResourcesFit set to MostAllocated."""
        return cls(seed, Allocation.BEST, most_allocated)

    def choose(self, cluster: Cluster, pod: str, request: GpuRequest, resources: Resources) -> Choice | None:
        """One scheduling cycle. See `simulator.engine.Policy`."""
        if not self._ledger.knowledge():
            self._ledger.replace_nodes(self._agents.publication(node) for node in cluster.nodes.values())
        feasible = [node.name for node in cluster.feasible(resources)]
        turn = crc32(pod.encode())
        passed = filter_nodes(self._ledger, request, feasible, limit=self._max_candidates, turn=turn).passed
        if not passed:
            return None
        nodes = [cluster.nodes[name] for name in passed]
        if len(nodes) == 1:
            return Choice(nodes[0])
        scored = prioritize_nodes(self._ledger, request, passed).scored
        priorities = {name: score for score, names in scored for name in names}

        def total(node: Node) -> int:
            in_tree = self._in_tree(node.capacity, node.requested, resources)
            return total_score(in_tree, priorities.get(node.name, 0), EXTENDER_WEIGHT)

        return Choice(highest(nodes, total, self._random))

    def bound(self, pod: str, request: GpuRequest, held: Held) -> None:
        """See `simulator.engine.Policy`."""
        self._ledger.apply_pod(_bound_pod(pod, request, held.node.name))
        self._agents.hand_out(pod, request, held)
        self._ledger.apply_node(self._agents.publication(held.node))

    def released(self, pod: str, held: Held) -> None:
        """See `simulator.engine.Policy`."""
        self._ledger.forget_pod(_key(pod))
        self._agents.take_back(pod, held.node)
        self._ledger.apply_node(self._agents.publication(held.node))


class _Agents:
    """What the nodes' agents publish."""

    def __init__(self, allocation: Allocation) -> None:
        self._allocation = allocation
        self._topologies: dict[str, str] = {}
        self._annotations: dict[str, dict[str, str]] = {}
        self._holders: dict[str, dict[str, tuple[Holder, ...]]] = {}

    def hand_out(self, pod: str, request: GpuRequest, held: Held) -> None:
        bound = BoundPod(_key(pod), pod, request)
        holders = holders_of(bound, [gpus_of(gpus) for gpus in held.sets])
        self._holders.setdefault(held.node.name, {})[pod] = holders

    def take_back(self, pod: str, node: Node) -> None:
        del self._holders[node.name][pod]

    def publication(self, node: Node) -> dict[str, Any]:
        """The node in the API server's JSON form."""
        if node.name not in self._topologies:
            self._topologies[node.name] = encode_topology(with_uuids(node.topology, node.name))
        held = tuple(holder for holders in self._holders.get(node.name, {}).values() for holder in holders)
        report = NodeReport(self._topologies[node.name], Occupancy(gpus_of(node.free), held), self._allocation)
        annotations = self._annotations.setdefault(node.name, {})
        annotations |= report.changes(annotations)
        allocatable = {GPU_RESOURCE: str(node.capacity.gpus)}
        return {
            "metadata": {"name": node.name, "annotations": dict(annotations)},
            "status": {"allocatable": allocatable},
        }


_NAMESPACE: Final = "team"


def _key(pod: str) -> str:
    return f"{_NAMESPACE}/{pod}"


def _bound_pod(pod: str, request: GpuRequest, node: str) -> dict[str, Any]:
    """A bound pod in the API server's JSON form."""
    of_kind: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for container in request.containers:
        entry: dict[str, Any] = {
            "name": container.name,
            "resources": {"limits": {GPU_RESOURCE: str(container.gpus)}},
        }
        if container.kind is ContainerKind.SIDECAR:
            entry["restartPolicy"] = "Always"
        of_kind["containers" if container.kind is ContainerKind.MAIN else "initContainers"].append(entry)
    return {
        "metadata": {"namespace": _NAMESPACE, "name": pod, "uid": pod},
        "spec": {"nodeName": node, **of_kind},
        "status": {"phase": "Pending"},
    }
