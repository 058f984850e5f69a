"""A cluster in memory, the truth that the model of the books compares with.

An API server with its two watches, a kubelet on every node that gives GPUs to containers, and agents that say what they
saw: late, not at all, or wrongly. Nothing of the extender is used here.
"""

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from random import Random
from typing import Any, Generic, TypeAlias, TypeVar

from gpu_topology.assignment import ASSIGNED_ANNOTATION, decode_assignment
from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    Allocation,
    Holder,
    NodeState,
    encode_state,
    encode_topology,
    topology_hash,
)
from gpu_topology.errors import PlacementError
from gpu_topology.placement import tables_of
from gpu_topology.placement.vendor import vendor_scores
from gpu_topology.request import GpuRequest, bound_request_of
from gpu_topology.topology import NodeTopology
from topology_agent.allocators import BestAllocator, VendorAllocator
from topology_agent.simulation import Allocator, BoundPod, holders_of

Json = dict[str, Any]
Watched = TypeVar("Watched")


@dataclass(frozen=True)
class Containers:
    """How many GPUs the containers of a pod ask for."""

    main: tuple[int, ...]
    init: tuple[int, ...] = ()
    sidecars: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pod:
    """A pod as the API server has it.

    Attributes:
        node: where it is bound; "" where it waits.
        record: the annotation that names the GPUs that were chosen for it.
    """

    name: str
    uid: str
    node: str
    containers: Containers
    wishes: Mapping[str, str]
    bound_at: int
    phase: str = "Pending"
    deleting: bool = False
    record: str | None = None

    @property
    def key(self) -> str:
        """As reports and books name it."""
        return f"team/{self.name}"

    @property
    def has_ended(self) -> bool:
        """Whether its GPUs do not count any more."""
        return self.phase in ("Succeeded", "Failed")

    @cached_property
    def request(self) -> GpuRequest:
        """What it asks for."""
        return bound_request_of(self.json())

    def json(self) -> Json:
        """As the API server writes it."""
        sidecars = [_container(f"s{i}", gpus, restart="Always") for i, gpus in enumerate(self.containers.sidecars)]
        inits = [_container(f"i{i}", gpus) for i, gpus in enumerate(self.containers.init)]
        minutes, seconds = divmod(self.bound_at, 60)
        bound = {"type": "PodScheduled", "lastTransitionTime": f"2026-01-01T00:{minutes:02}:{seconds:02}Z"}
        return {
            "metadata": {
                "namespace": "team",
                "name": self.name,
                "uid": self.uid,
                "annotations": dict(self.wishes) | ({ASSIGNED_ANNOTATION: self.record} if self.record else {}),
                **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if self.deleting else {}),
            },
            "spec": {
                **({"nodeName": self.node} if self.node else {}),
                "initContainers": sidecars + inits,
                "containers": [_container(f"c{i}", gpus) for i, gpus in enumerate(self.containers.main)],
            },
            "status": {"phase": self.phase, "conditions": [bound] if self.node else []},
        }


def _container(name: str, gpus: int, *, restart: str | None = None) -> Json:
    made: Json = {"name": name, "resources": {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}}
    return made | ({"restartPolicy": restart} if restart else {})


@dataclass(frozen=True)
class Report:
    """What an agent says of its node, if it says something that can be believed."""

    free: frozenset[int]
    held: tuple[Holder, ...]
    unusable: frozenset[int]

    def held_by(self, pod: Pod) -> frozenset[int]:
        """The GPUs that it shows a pod to have; an agent that knows no UIDs goes by the name."""
        named = (holder for holder in self.held if holder.pod == pod.key and holder.pod_uid in (None, pod.uid))
        return frozenset(gpu for holder in named for gpu in holder.gpus)


@dataclass(frozen=True)
class Node:
    """A node as the API server has it.

    Attributes:
        report: what its annotations say; None where they are missing, or nobody could rely on them.
    """

    name: str
    allocatable: int
    annotations: Mapping[str, Any] = field(default_factory=dict)
    report: Report | None = None

    def json(self) -> Json:
        """As the API server writes it."""
        return {
            "metadata": {"name": self.name, "annotations": dict(self.annotations)},
            "status": {"allocatable": {"nvidia.com/gpu": str(self.allocatable)}},
        }


@dataclass(frozen=True)
class Machine:
    """A node's hardware and manners.

    Attributes:
        allocation: who chooses among the free GPUs.
        knows_uids: whether its agent says of which UID a holder is. The kubelet's own list has names only.
        lists_init: whether it says what a finished init container leaves to the pod. The kubelet's own list does not.
    """

    topology: NodeTopology
    allocation: Allocation
    knows_uids: bool = True
    lists_init: bool = True


class Kubelet:
    """Gives the GPUs of a node away, and its agent sees what it lists.

    Attributes:
        lost: GPUs that are broken.
        cordoned: GPUs that a person has taken out of use; the kubelet does not know that.
    """

    def __init__(self, name: str, machine: Machine, random: Random) -> None:
        self.name = name
        self.machine = machine
        self.gpus = frozenset(range(len(machine.topology)))
        self.lost: frozenset[int] = frozenset()
        self.cordoned: frozenset[int] = frozenset()
        self.admitted: set[str] = set()
        self._topology = encode_topology(machine.topology)
        self._allocator = _allocator(machine, random)
        self._held: dict[str, tuple[Holder, ...]] = {}
        self._uuids = [gpu.uuid for gpu in machine.topology.gpus]
        self._listed: dict[str, int] = {}
        self._sequence = 0

    @property
    def unusable(self) -> frozenset[int]:
        """What nobody should be given."""
        return self.lost | self.cordoned

    @property
    def taken(self) -> frozenset[int]:
        """The GPUs that some container has."""
        return _gpus_of(holder for held in self._held.values() for holder in held)

    @property
    def free(self) -> frozenset[int]:
        """The GPUs that a pod should get next."""
        return self.gpus - self.taken - self.unusable

    @property
    def holders(self) -> set[str]:
        """The UIDs of the pods that have GPUs."""
        return set(self._held)

    @property
    def unlisted(self) -> list[str]:
        """The UIDs of the pods of which not all containers are listed yet."""
        return [uid for uid, held in self._held.items() if self._listed[uid] < len(held)]

    def admit(self, pod: Pod) -> frozenset[int] | None:
        """Give a pod its GPUs; none of its containers is listed yet. None where there are too few: it fails."""
        self.admitted.add(pod.uid)
        available = self.gpus - self.taken - self.lost
        request = pod.request
        if self.machine.allocation is Allocation.BEST and len(available - self.cordoned) >= request.total:
            available -= self.cordoned
        try:
            chosen = self._as_recorded(pod, available) or self._allocator(available, request)
        except PlacementError:
            return None
        bound = BoundPod(pod.key, pod.uid, request)
        self._held[pod.uid] = held = holders_of(bound, chosen)
        self._listed[pod.uid] = 0
        given = _gpus_of(held)
        assert len(given) == request.total, "the kubelet gives what kube-scheduler counts"
        return given

    def recorded(self, pod: Pod) -> frozenset[int]:
        """The GPUs that are promised to a pod by identity."""
        if pod.record is None or not (assignment := decode_assignment(pod.record)).enforced:
            return frozenset()
        return frozenset(self._uuids.index(uuid) for _, uuids in assignment.containers for uuid in uuids)

    def given(self, uid: str) -> frozenset[int]:
        """The GPUs that a pod has."""
        return _gpus_of(self._held.get(uid, ()))

    def _as_recorded(self, pod: Pod, available: frozenset[int]) -> Sequence[tuple[int, ...]] | None:
        """What is recorded, container by container, where that is a promise and can be kept."""
        if pod.record is None or not self.recorded(pod) or not self.recorded(pod) <= available:
            return None
        shares = dict(decode_assignment(pod.record).containers)
        return [tuple(map(self._uuids.index, shares[container.name])) for container in pod.request.containers]

    def list_next(self, uid: str) -> None:
        """List one more container of a pod: its devices have been allocated."""
        self._listed[uid] += 1

    def release(self, uid: str) -> None:
        """Take back the GPUs of a pod whose processes have ended."""
        del self._held[uid], self._listed[uid]

    def look(self) -> Report:
        """What the agent sees now."""
        listed = [holder for uid, held in self._held.items() for holder in held[: self._listed[uid]]]
        if not self.machine.lists_init:
            listed = [holder for holder in listed if not holder.container.startswith("i")]
        if not self.machine.knows_uids:
            listed = [replace(holder, pod_uid=None) for holder in listed]
        return Report(self.gpus - _gpus_of(listed) - self.unusable, tuple(listed), self.unusable)

    @property
    def leftovers_are_hidden(self) -> bool:
        """Whether some pod has GPUs of an init container that are never listed."""
        inits = [h for held in self._held.values() for h in held if h.container.startswith("i")]
        return bool(inits) and not self.machine.lists_init

    def annotations(self, report: Report) -> dict[str, str]:
        """What the agent writes to say this."""
        self._sequence += 1
        state = NodeState(
            topology_hash(self._topology),
            self._sequence,
            free=tuple(sorted(report.free)),
            held=report.held,
            unhealthy=dict.fromkeys(sorted(report.unusable), "out of use"),
            allocation=self.machine.allocation,
        )
        return {TOPOLOGY_ANNOTATION: self._topology, STATE_ANNOTATION: encode_state(state)}


def _gpus_of(holders: Iterable[Holder]) -> frozenset[int]:
    return frozenset(gpu for holder in holders for gpu in holder.gpus)


def _allocator(machine: Machine, random: Random) -> Allocator:
    if machine.allocation is Allocation.BEST:
        return BestAllocator(tables_of(machine.topology))
    return VendorAllocator(vendor_scores(machine.topology), random)


class Defect(StrEnum):
    """What may be wrong with what stands on a node."""

    STALE = "stale"
    UNKNOWING = "the agent does not know what is free"
    FOREIGN = "of a later version"
    BROKEN = "cut off"
    MISMATCHED = "a state that speaks of another topology"
    BEYOND = "names a GPU that the node does not have"
    CONTRADICTORY = "a GPU that is free and held"
    NO_STATE = "the state was removed by hand"
    NOTHING = "both annotations were removed by hand"


def spoilt(kubelet: Kubelet, defect: Defect) -> dict[str, str]:
    """Annotations with a defect; whatever they say, nobody may rely on it."""
    said: dict[Defect, Json] = {
        Defect.STALE: {"stale": "the kubelet does not answer"},
        Defect.UNKNOWING: {"free": None},
        Defect.FOREIGN: {"version": 2},
        Defect.MISMATCHED: {"topology": "0123456789abcdef"},
        Defect.BEYOND: {"unhealthy": {str(len(kubelet.gpus)): "where is it?"}},
        Defect.CONTRADICTORY: {"free": [0], "unhealthy": {"0": "broken"}},
    }
    annotations = kubelet.annotations(kubelet.look())
    topology, state = annotations[TOPOLOGY_ANNOTATION], annotations[STATE_ANNOTATION]
    if defect in said:
        state = json.dumps(json.loads(state) | said[defect])
    if defect is Defect.BROKEN:
        state = state[: len(state) // 2]
    there = {TOPOLOGY_ANNOTATION: topology, STATE_ANNOTATION: state}
    lacking = {Defect.NO_STATE: {STATE_ANNOTATION}, Defect.NOTHING: there.keys()}.get(defect, set())
    return {key: text for key, text in there.items() if key not in lacking}


class Watch(Generic[Watched]):
    """A watch of one resource: changes in their order, some of which have yet to arrive.

    Attributes:
        broken: changes are missed from now on, until everything is listed again.
    """

    def __init__(self) -> None:
        self._coming: deque[tuple[str, Watched | None]] = deque()
        self.broken = False

    def __len__(self) -> int:
        return len(self._coming)

    def write(self, name: str, obj: Watched | None) -> None:
        """An object has changed; None: it is gone."""
        if not self.broken:
            self._coming.append((name, obj))

    def arrived(self, count: int) -> Iterator[tuple[str, Watched | None]]:
        """Take the next changes."""
        for _ in range(min(count, len(self._coming))):
            yield self._coming.popleft()

    def lose(self) -> None:
        """Break: what has not arrived yet never will."""
        self.broken = True
        self._coming.clear()

    def renew(self) -> None:
        """Begin anew after a list, which has shown everything until now."""
        self.broken = False
        self._coming.clear()


class World:
    """The API server and the kubelets. Every change of an object goes into its resource's watch."""

    def __init__(self, machines: Mapping[str, Machine], random: Random) -> None:
        self.nodes: dict[str, Node] = {}
        self.pods: dict[str, Pod] = {}
        self.node_watch: Watch[Node] = Watch()
        self.pod_watch: Watch[Pod] = Watch()
        self.kubelets = {name: Kubelet(name, machine, random) for name, machine in machines.items()}
        self._made = 0
        for kubelet in self.kubelets.values():
            self.register(kubelet)
            self.publish(kubelet, kubelet.look())

    def register(self, kubelet: Kubelet) -> None:
        """A kubelet makes its node, without annotations."""
        self._write_node(Node(kubelet.name, len(kubelet.gpus - kubelet.lost)))

    def publish(self, kubelet: Kubelet, report: Report) -> None:
        """An agent says something on its node, if there is one."""
        self.annotate(kubelet, kubelet.annotations(report), report)

    def annotate(self, kubelet: Kubelet, annotations: Mapping[str, str], report: Report | None) -> None:
        """Both annotations of a node are replaced."""
        node = self.nodes.get(kubelet.name)
        if node is not None:
            self._write_node(replace(node, annotations=annotations, report=report))

    def update_allocatable(self, kubelet: Kubelet) -> None:
        """A kubelet says how many healthy GPUs it has."""
        node = self.nodes.get(kubelet.name)
        if node is not None:
            self._write_node(replace(node, allocatable=len(kubelet.gpus - kubelet.lost)))

    def remove_node(self, name: str) -> None:
        """Somebody deletes a node; its kubelet and pods live on."""
        del self.nodes[name]
        self.node_watch.write(name, None)

    def has_room(self, node: str, gpus: int) -> bool:
        """Whether a node has so many GPUs left as kube-scheduler counts them."""
        taken = sum(pod.request.total for pod in self.pods.values() if pod.node == node and not pod.has_ended)
        return node in self.nodes and taken + gpus <= self.nodes[node].allocatable

    def create(self, pod: Pod) -> None:
        """A pod is made, bound already or not."""
        self._made += 1
        self.write_pod(replace(pod, uid=f"uid-{self._made}"))

    def write_pod(self, pod: Pod) -> None:
        """A pod has changed; the watch is of those that are bound."""
        self.pods[pod.name] = pod
        if pod.node:
            self.pod_watch.write(pod.name, pod)

    def remove_pod(self, pod: Pod) -> None:
        """The API server has no such pod any more."""
        del self.pods[pod.name]
        if pod.node:
            self.pod_watch.write(pod.name, None)

    @property
    def bound_pods(self) -> dict[str, Pod]:
        """The pods that a list of the watched ones has, by name."""
        return {name: pod for name, pod in self.pods.items() if pod.node}

    def tasks(self) -> "list[Task]":
        """What kubelets have to do: admit pods, list the devices of their containers, take back those of others."""
        staying = {pod.uid for pod in self.pods.values() if not pod.has_ended and not pod.deleting}
        tasks: list[Task] = [Admit(pod) for _, pod in sorted(self.bound_pods.items()) if self._awaits_admission(pod)]
        for kubelet in self.kubelets.values():
            tasks.extend(ListNext(kubelet, uid) for uid in kubelet.unlisted)
            tasks.extend(Release(kubelet, uid) for uid in sorted(kubelet.holders - staying))
        return tasks

    def _awaits_admission(self, pod: Pod) -> bool:
        return not (pod.has_ended or pod.deleting or pod.uid in self.kubelets[pod.node].admitted)

    def _write_node(self, node: Node) -> None:
        self.nodes[node.name] = node
        self.node_watch.write(node.name, node)


@dataclass(frozen=True)
class Admit:
    """A kubelet is to give a pod its GPUs, or to fail it."""

    pod: Pod

    def done(self, world: World) -> frozenset[int] | None:
        """Do it. Returns the GPUs that the pod gets, or None."""
        given = world.kubelets[self.pod.node].admit(self.pod)
        world.write_pod(replace(self.pod, phase="Failed" if given is None else "Running"))
        return given


@dataclass(frozen=True)
class ListNext:
    """A kubelet is to list the devices of one more container of a pod."""

    kubelet: Kubelet
    uid: str

    def done(self, _world: World) -> None:
        """Do it."""
        self.kubelet.list_next(self.uid)


@dataclass(frozen=True)
class Release:
    """A kubelet is to take back the GPUs of a pod that has ended, is being deleted or is gone: its processes end."""

    kubelet: Kubelet
    uid: str

    def done(self, _world: World) -> None:
        """Do it."""
        self.kubelet.release(self.uid)


Task: TypeAlias = Admit | ListNext | Release
