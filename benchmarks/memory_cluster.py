"""A large cluster that changes, held so compactly that who shows it to others stays small."""

import random
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any, Final, NamedTuple

from benchmarks.memory_objects import GpuMachine, PodRow, node_object, pod_object
from benchmarks.synthetic_cluster import MACHINES, node_names
from gpu_topology.errors import SettingsError
from topology_agent.profiles import load_machine

CLUSTER_MACHINES: Final = (*MACHINES, "dgx-2")
"""The kinds of nodes, in turn: 60 GPUs on seven of them."""
GPU_ROUNDS: Final = 4
"""Rounds with a GPU pod to each with one that has none."""


class Change(NamedTuple):
    """An event of a watch; the object itself is made when it is sent.

    Attributes:
        version: the object's resource version.
        kind: "ADDED", "MODIFIED" or "DELETED".
        render: makes the object.
    """

    version: int
    kind: str
    row: "NodeRow | PodRow"


class NodeRow(NamedTuple):
    """A node at one moment.

    Attributes:
        holders: for each GPU the pod that has it, "<namespace>/<name>", or None.
        sequence: of its agent's report.
    """

    machine: GpuMachine
    holders: tuple[str | None, ...]
    sequence: int = 1


class Mark(NamedTuple):
    """By what one sees that all changes have arrived: the report of this node, and a pod that it does not show yet."""

    node: str
    sequence: int
    pod: str


class ChangingCluster:
    """Nodes, the pods that are bound to them, and all changes since the beginning.

    Each GPU pod has one GPU, which is the most that the books can have to hold: every GPU with a pod of its own.

    Attributes:
        version: the latest resource version.
        nodes, pods: what exists, each with its resource version.
        node_changes, pod_changes: what has changed, oldest first.

    Args:
        nodes: how many.
        pods: how many, those with GPUs included.
        gpu_pods: how many of them have a GPU.
        seed: of what is random.

    Raises:
        SettingsError: there are not as many GPUs.
    """

    def __init__(self, nodes: int, pods: int, gpu_pods: int, seed: int = 1) -> None:
        self.version = 1
        self.nodes: dict[str, tuple[int, NodeRow]] = {}
        self.pods: dict[int, tuple[int, PodRow]] = {}
        self.node_changes: list[Change] = []
        self.pod_changes: list[Change] = []
        self._random = random.Random(seed)
        self._next_pod = 0
        self._fill(nodes, pods, gpu_pods)

    def change(self, count: int) -> Mark:
        """Let pods come, run and go, and their nodes tell of it, so many changes in all, and one of each for a mark."""
        for _ in islice(self._rounds(), count):
            pass
        node = self._node(self._random.choice(list(self.nodes)))
        row = self._put_node(node.machine.name, node.holders)
        pod = self._put_pod(PodRow(self._number(), node.machine.name, node.machine.uuids[0], "Pending"))
        return Mark(node.machine.name, row.sequence, pod.key)

    def _fill(self, nodes: int, pods: int, gpu_pods: int) -> None:
        kinds = cycle([load_machine(name) for name in CLUSTER_MACHINES])
        machines = [GpuMachine.of(name, kind) for name, kind in zip(node_names(nodes), kinds, strict=False)]
        places = [(machine, gpu) for machine in machines for gpu in range(len(machine.uuids))]
        if not gpu_pods <= min(pods, len(places)):
            raise SettingsError(f"{gpu_pods} GPU pods: there are {pods} pods, and {len(places)} GPUs for one each")
        holders = {machine.name: [None] * len(machine.uuids) for machine in machines}
        taken: dict[str, list[str | None]] = {name: list(empty) for name, empty in holders.items()}
        for machine, gpu in self._random.sample(places, gpu_pods):
            pod = PodRow(self._number(), machine.name, machine.uuids[gpu])
            taken[machine.name][gpu] = pod.key
            self.pods[pod.number] = self.version, pod
        for _ in range(pods - gpu_pods):
            pod = PodRow(self._number(), self._random.choice(machines).name, None)
            self.pods[pod.number] = self.version, pod
        for machine in machines:
            self.nodes[machine.name] = self.version, NodeRow(machine, tuple(taken[machine.name]))

    def _rounds(self) -> Iterator[None]:
        """One step for each change, without end."""
        with_gpus = [number for number, (_, pod) in self.pods.items() if pod.uuid is not None]
        without = [number for number, (_, pod) in self.pods.items() if pod.uuid is None]
        for turn in cycle(range(GPU_ROUNDS + 1)):
            if turn < GPU_ROUNDS and with_gpus:
                yield from self._gpu_round(with_gpus)
            elif without:
                yield from self._plain_round(without)

    def _gpu_round(self, running: list[int]) -> Iterator[None]:
        """A pod ends and is deleted, the next one takes its GPU, and the agent tells of both."""
        place = self._random.randrange(len(running))
        _, old = self.pods[running[place]]
        new = PodRow(self._number(), old.node, old.uuid, "Pending")
        running[place] = new.number
        gpu = self._node(old.node).machine.uuids.index(str(old.uuid))
        self._put_pod(old._replace(phase="Succeeded"))
        yield
        self._delete_pod(old.number)
        yield
        self._put_node(old.node, _replaced(self._node(old.node).holders, gpu, None))
        yield
        self._put_pod(new)
        yield
        self._put_node(old.node, _replaced(self._node(old.node).holders, gpu, new.key))
        yield
        self._put_pod(new._replace(phase="Running"))
        yield

    def _plain_round(self, running: list[int]) -> Iterator[None]:
        place = self._random.randrange(len(running))
        _, old = self.pods[running[place]]
        new = PodRow(self._number(), old.node, None, "Pending")
        running[place] = new.number
        self._delete_pod(old.number)
        yield
        self._put_pod(new)
        yield
        self._put_pod(new._replace(phase="Running"))
        yield

    def _node(self, name: str) -> NodeRow:
        return self.nodes[name][1]

    def _number(self) -> int:
        self._next_pod += 1
        return self._next_pod

    def _put_node(self, name: str, holders: tuple[str | None, ...]) -> NodeRow:
        before = self._node(name)
        row = before._replace(holders=holders, sequence=before.sequence + 1)
        self.version += 1
        self.nodes[name] = self.version, row
        self.node_changes.append(Change(self.version, "MODIFIED", row))
        return row

    def _put_pod(self, pod: PodRow) -> PodRow:
        self.version += 1
        kind = "MODIFIED" if pod.number in self.pods else "ADDED"
        self.pods[pod.number] = self.version, pod
        self.pod_changes.append(Change(self.version, kind, pod))
        return pod

    def _delete_pod(self, number: int) -> None:
        self.version += 1
        _, pod = self.pods.pop(number)
        self.pod_changes.append(Change(self.version, "DELETED", pod))


def rendered(row: NodeRow | PodRow, version: int) -> dict[str, Any]:
    """The object in the API server's JSON form."""
    if isinstance(row, PodRow):
        return pod_object(row, version)
    return node_object(row.machine, row.holders, row.sequence, version)


def _replaced(holders: tuple[str | None, ...], gpu: int, holder: str | None) -> tuple[str | None, ...]:
    return (*holders[:gpu], holder, *holders[gpu + 1 :])
