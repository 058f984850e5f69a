"""Who is evicted for a pod of high priority, and when nobody is: real control plane, real priority classes."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpu_topology.contract import STATE_ANNOTATION, Allocation, NodeState, decode_state
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, pod
from tests.control_plane.stack import Stack
from tests.end_to_end.test_best_node import fleet

PRIORITIES = {"idle": 10, "low": 20, "middle": 100, "urgent": 1000}
BOOKS_SECONDS = 10.0
"""How long the extender may take to see what is published: it is a watch event away."""


@pytest.fixture
def client(kubernetes_client: Client) -> Iterator[Client]:
    """The admin's client of a cluster with these priority classes."""
    api = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    for name, value in PRIORITIES.items():
        kubernetes_client.create({**api, "metadata": {"name": name}, "value": value})
    yield kubernetes_client
    for name in PRIORITIES:
        kubernetes_client.delete("PriorityClass", name, api_version="scheduling.k8s.io/v1")


def prioritized(name: str, priority: str, gpus: int, **wishes: str) -> dict[str, Any]:
    """A pod that ends at once when it is evicted: there is no kubelet that would end it."""
    annotations = {f"gpu-scheduler/{key}": value for key, value in wishes.items()}
    made = pod(name, gpus=gpus, scheduler_name="gpu-scheduler", annotations=annotations)
    made["spec"] |= {"priorityClassName": priority, "terminationGracePeriodSeconds": 0}
    return made


class Machines:
    """The GPUs of a stack's nodes, given away one by one."""

    def __init__(self, client: Client, stack: Stack) -> None:
        self._client = client
        self._stack = stack

    def occupy(self, node: str, priorities: Mapping[int, str], gpus: int = 8) -> None:
        """Let a pod `<node>-<gpu>` of this priority hold each of these GPUs; the others stay free.

        A GPU goes to a certain pod by being the only free one when that pod comes.
        """
        for number in range(gpus):
            self._bind(f"filler-{node}-{number}", "idle", node)
        state = self.wait(node, free=())
        filler_of = {holder.gpus[0]: holder.pod.removeprefix("default/") for holder in state.held}
        for gpu, priority in priorities.items():
            self._client.delete("Pod", filler_of.pop(gpu))
            self.wait(node, free=(gpu,))
            self._bind(f"{node}-{gpu}", priority, node)
            self.wait(node, free=())
        for filler in filler_of.values():
            self._client.delete("Pod", filler)
        self.wait(node, free=tuple(sorted(filler_of)))
        self._wait_for_the_books(node)

    def leave(self, node: str, names: set[str]) -> None:
        """Wait until these pods are gone and extender and kube-scheduler know.

        kube-scheduler may see the node's report before the extender does, ask at once, be refused, and have no reason
        to ask again before the next event. So there is one more when the extender is up to date.
        """

        def reported(obj: dict[str, Any]) -> bool:
            held = decode_state(obj["metadata"]["annotations"][STATE_ANNOTATION]).held
            return not {holder.pod for holder in held} & {f"default/{name}" for name in names}

        for name in names:
            self._client.wait_until_deleted("Pod", name)
        self._client.wait_for("Node", node, reported)
        self._wait_for_the_books(node)
        self._client.patch("Node", node, {"metadata": {"annotations": {"example.org/seen": "yes"}}})

    def wait(self, node: str, *, free: tuple[int, ...]) -> NodeState:
        """Wait until the node has published that exactly these GPUs are free."""

        def published(obj: dict[str, Any]) -> bool:
            return decode_state(obj["metadata"]["annotations"][STATE_ANNOTATION]).free == free

        found = self._client.wait_for("Node", node, published)
        return decode_state(found["metadata"]["annotations"][STATE_ANNOTATION])

    def state(self, node: str) -> NodeState:
        """What the node has published last."""
        return decode_state(self._client.get("Node", node)["metadata"]["annotations"][STATE_ANNOTATION])

    def gpus_of(self, name: str, node: str) -> tuple[int, ...]:
        """Wait until the node has published that a pod holds GPUs, and say which."""

        def held_in(obj: dict[str, Any]) -> tuple[int, ...]:
            state = decode_state(obj["metadata"]["annotations"][STATE_ANNOTATION])
            return tuple(gpu for holder in state.held if holder.pod == f"default/{name}" for gpu in holder.gpus)

        return held_in(self._client.wait_for("Node", node, lambda obj: bool(held_in(obj))))

    def pods(self) -> set[str]:
        """The names of the pods that exist."""
        return {obj["metadata"]["name"] for obj in self._client.list("Pod")}

    def _bind(self, name: str, priority: str, node: str) -> None:
        made = prioritized(name, priority, 1)
        made["spec"]["nodeName"] = node
        self._client.create(made)

    def _wait_for_the_books(self, node: str) -> None:
        deadline = time.monotonic() + BOOKS_SECONDS
        while time.monotonic() < deadline:
            book = httpx.get(f"{self._stack.extender_url}/v1/nodes/{node}", trust_env=False).raise_for_status().json()
            state = self.state(node)
            if book["sequence"] == state.sequence and not book["expected"] and tuple(book["free"]) == state.free:
                return
        raise TimeoutError(f"the extender's books of {node} do not show what it has published: {book}")


def preemptions(stack: Stack) -> int:
    """How often kube-scheduler has asked whom to evict."""
    exposition = httpx.get(f"{stack.probes_url}/metrics", trust_env=False).text
    found = re.search(r'gpu_scheduler_requests_total{result="ok",verb="preempt"} ([0-9.]+)', exposition)
    return int(float(found[1])) if found else 0


@pytest.mark.parametrize("checked", [True, False], ids=["with the verb", "without it"])
def test_those_are_evicted_whose_gpus_are_linked(
    control_plane: ControlPlane, client: Client, tmp_path: Path, *, checked: bool
) -> None:
    """Two full DGX-1V: kube-scheduler likes the pods of least priority, but their GPUs are in both halves of a machine.

    Without the verb it evicts them, in vain.
    """
    nodes = [{"name": name, "machine": "dgx-1v"} for name in ("apart", "linked")]
    configuration = {} if checked else {"preemptVerb": ""}
    stack = Stack(
        control_plane,
        fleet(tmp_path, nodes),
        allocation=Allocation.BEST,
        extender_configuration=configuration,
    )
    with stack:
        machines = Machines(client, stack)
        machines.occupy("apart", {gpu: "idle" if gpu in {0, 1, 4, 5} else "middle" for gpu in range(8)})
        machines.occupy("linked", {gpu: "low" if gpu < 4 else "middle" for gpu in range(8)})
        before = machines.pods()
        client.create(prioritized("trainer", "urgent", 4, require="nvlink"))
        if checked:
            machines.leave("linked", {f"linked-{gpu}" for gpu in range(4)})
            bound = client.wait_for("Pod", "trainer", is_bound)
            assert bound["spec"]["nodeName"] == "linked"
            assert machines.gpus_of("trainer", "linked") == (0, 1, 2, 3)
            assert before - machines.pods() == {f"linked-{gpu}" for gpu in range(4)}
            assert preemptions(stack) >= 1
        else:
            client.wait_until_deleted("Pod", "apart-0")
            machines.wait("apart", free=(0, 1, 4, 5))
            # It may have evicted others elsewhere by now, and be bound there: these were evicted for nothing.
            assert client.get("Pod", "trainer")["spec"].get("nodeName") != "apart"


def test_where_the_counts_suffice_nobody_is_evicted(
    control_plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    """One GPU of each bridged pair is free: kube-scheduler would find nobody to evict, and is told not to look."""
    nodes = [{"name": "halves", "machine": "bridged-pairs-8"}]
    with Stack(control_plane, fleet(tmp_path, nodes), allocation=Allocation.BEST) as stack:
        machines = Machines(client, stack)
        machines.occupy("halves", dict.fromkeys((0, 2, 4, 6), "low"))
        before = machines.pods()
        logged = len(stack.scheduler.log.read_text())  # by the schedulers of earlier tests, too
        trainer = client.create(prioritized("trainer", "urgent", 2, require="nvlink"))
        refused = client.wait_for("Pod", "trainer", has_been_refused)
        assert "no 2 free GPUs are all linked by NVLink" in condition(refused)["message"]

        request = {"Pod": trainer, "Nodes": None, "NodeNames": ["halves"]}
        answer = httpx.post(f"{stack.extender_url}/filter", json=request, trust_env=False).json()
        assert (answer["FailedNodes"], set(answer["FailedAndUnresolvableNodes"])) == ({}, {"halves"})
        assert machines.pods() == before | {"trainer"}
        assert preemptions(stack) == 0
        assert "expected at least one victim" not in stack.scheduler.log.read_text()[logged:]

        explained = explain(stack, "default/trainer")
        assert "refuse it: 1\n    1 node (halves): 4 of 8 GPUs free, no 2 free GPUs are all linked" in explained
        assert "a higher priority does not help" in explained

        client.delete("Pod", "halves-0")
        machines.leave("halves", {"halves-0"})
        client.wait_for("Pod", "trainer", is_bound)
        assert machines.gpus_of("trainer", "halves") == (0, 1)


def has_been_refused(obj: Mapping[str, Any]) -> bool:
    """Whether a scheduler has tried to place the pod and could not."""
    return bool(condition(obj))


def condition(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the scheduler says of a pod that it could not place; nothing before it has tried."""
    conditions = obj.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == "PodScheduled" and each["status"] == "False"), {})


def explain(stack: Stack, name: str) -> str:
    """What the command line says about a pod."""
    command = [sys.executable, "-m", "gputopo", "explain", name, "--url", stack.extender_url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
