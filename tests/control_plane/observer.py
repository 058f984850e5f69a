"""Sends pods through a running stack, one by one, and sees what becomes of each."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import httpx

from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION, NodeState, decode_state, decode_topology
from gpu_topology.topology import NodeTopology
from tests.control_plane.client import Client
from tests.control_plane.objects import is_bound, pod

BOOKS_SECONDS = 10.0
"""How long the extender may take to see what is published: it is a watch event away."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What became of a pod.

    Attributes:
        free: which GPUs of every node were free when it came.
        gpus: those that it was given.
    """

    name: str
    size: int
    node: str
    free: dict[str, tuple[int, ...]]
    gpus: tuple[int, ...]


class Served(Protocol):
    """What is looked at: a `Stack`, say."""

    @property
    def with_extender(self) -> bool:
        """Whether there is an extender."""

    @property
    def extender_url(self) -> str:
        """Where it serves its account of its books."""


class Observer:
    """Looks at a stack from outside: through the API server, and the extender's own account of its books."""

    def __init__(self, client: Client, stack: Served) -> None:
        self._client = client
        self._stack = stack

    def topologies(self) -> dict[str, NodeTopology]:
        """What the agents have published, by node."""
        return {name: decode_topology(node[TOPOLOGY_ANNOTATION]) for name, node in self._annotations().items()}

    def states(self) -> dict[str, NodeState]:
        """What the agents have published last, by node."""
        return {name: decode_state(node[STATE_ANNOTATION]) for name, node in self._annotations().items()}

    def most_free(self) -> int:
        """The most free GPUs that any node has."""
        return max(len(state.free or ()) for state in self.states().values())

    def schedule(self, name: str, size: int, patience: float = 30.0) -> Scheduled:
        """Create a training pod, eight cores a GPU; wait until it is bound, and node and extender have taken note.

        Raises:
            TimeoutError: it is not bound after so many seconds.
        """
        free = {node: state.free or () for node, state in self.states().items()}
        created = self._client.create(pod(name, gpus=size, cpu=str(8 * size), scheduler_name="gpu-scheduler"))
        bound = self._client.wait_for("Pod", name, is_bound, seconds=patience)
        node = str(bound["spec"]["nodeName"])
        uid = created["metadata"]["uid"]
        state = self._wait(node, lambda state: any(holder.pod_uid == uid for holder in state.held))
        gpus = tuple(gpu for holder in state.held if holder.pod_uid == uid for gpu in holder.gpus)
        return Scheduled(name, size, node, free, gpus)

    def withdraw(self, name: str) -> None:
        """Delete a pod that was not bound."""
        self._client.delete("Pod", name)

    def end(self, scheduled: Scheduled) -> None:
        """Delete a pod and wait until its node has published that, and the extender has seen it."""
        self._client.delete("Pod", scheduled.name)
        self._wait(scheduled.node, lambda state: not any(h.pod == f"default/{scheduled.name}" for h in state.held))

    def wait_for_all_holders(self, pods: list[dict[str, Any]]) -> None:
        """Wait until the nodes have published that each of these bound pods holds GPUs, and the extender knows."""
        for node in {str(bound["spec"]["nodeName"]) for bound in pods}:
            uids = {bound["metadata"]["uid"] for bound in pods if bound["spec"]["nodeName"] == node}
            self._wait(node, partial(_are_held, uids))

    def wait_for_the_books(self, node: str) -> None:
        """Wait until the extender has seen what a node has published last."""
        self._wait_for_the_books(node, self.states()[node])

    def _wait(self, node: str, until: Callable[[NodeState], bool]) -> NodeState:
        def published(obj: dict[str, Any]) -> bool:
            return until(decode_state(obj["metadata"]["annotations"][STATE_ANNOTATION]))

        found = self._client.wait_for("Node", node, published)
        state = decode_state(found["metadata"]["annotations"][STATE_ANNOTATION])
        if self._stack.with_extender:
            self._wait_for_the_books(node, state)
        return state

    def _wait_for_the_books(self, node: str, state: NodeState) -> None:
        deadline = time.monotonic() + BOOKS_SECONDS
        while time.monotonic() < deadline:
            book = httpx.get(f"{self._stack.extender_url}/v1/nodes/{node}", trust_env=False).raise_for_status().json()
            if book["sequence"] >= state.sequence and tuple(book["free"]) == state.free:
                return
        raise TimeoutError(f"the extender's books of {node} do not show what it has published: {book}")

    def _annotations(self) -> dict[str, dict[str, str]]:
        return {obj["metadata"]["name"]: obj["metadata"]["annotations"] for obj in self._client.list("Node")}


def _are_held(uids: set[str], state: NodeState) -> bool:
    """Whether each of these pods has GPUs."""
    return uids <= {holder.pod_uid for holder in state.held}
