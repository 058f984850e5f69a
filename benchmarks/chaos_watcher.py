"""Looks on while the software is killed and started again: was a GPU ever promised twice?

It follows pods and nodes by watches of its own and shares no code with the extender, the agents or their client.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

import httpx
import orjson

from gpu_topology.assignment import ASSIGNED_ANNOTATION
from gpu_topology.contract import STATE_ANNOTATION
from tests.control_plane.client import ApiError, Client, Object

GPU_RESOURCE: Final = "nvidia.com/gpu"
PAUSE_SECONDS: Final = 0.1
"""Before a broken watch is tried again."""
WATCH_SECONDS: Final = 600.0


class Watcher:
    """Sees every pod and every node's report, in two threads, from `start` on.

    Attributes:
        twice: what was seen to be promised twice, in sentences for a person.
        bound: the names of the pods that have been seen bound.

    Args:
        connect: makes a client of its own.
        gpus: of the nodes, by name.
    """

    def __init__(self, connect: Callable[[], Client], gpus: Mapping[str, int]) -> None:
        self.twice: set[str] = set()
        self.bound: set[str] = set()
        self._connect = connect
        self._gpus = gpus
        self._pods: dict[str, Object] = {}
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        for kind, see in (("Pod", self.see_pod), ("Node", self.see_node)):
            threading.Thread(target=self._follow, args=(kind, see), name=f"watcher of {kind}", daemon=True).start()

    def end(self) -> None:
        """Look away. The threads end with their connections."""
        self._ended.set()

    def see_pod(self, change: str, pod: Object) -> None:
        """A pod has changed in this way: the type of the watch's event."""
        name = pod["metadata"]["name"]
        self._pods.pop(name, None)
        node = pod["spec"].get("nodeName")
        if change == "DELETED" or not node or pod["status"]["phase"] in ("Succeeded", "Failed"):
            return
        self._pods[name] = pod
        self.bound.add(name)
        self._count(node)
        self._compare_records(node)

    def see_node(self, _change: str, node: Object) -> None:
        """A node has changed."""
        for gpu, pods in holders(node).items():
            if len(pods) > 1:
                self.twice.add(f"GPU {gpu} of {node['metadata']['name']} is published as held by {sorted(pods)}")

    def _follow(self, kind: str, see: Callable[[str, Object], None]) -> None:
        with self._connect() as client:
            while not self._ended.wait(PAUSE_SECONDS):
                if kind == "Pod":
                    self._pods.clear()  # the watch begins with all that exist
                try:
                    for change, obj in client.watch(kind, seconds=WATCH_SECONDS):
                        see(change, obj)
                except (ApiError, httpx.HTTPError, ValueError):
                    continue  # the API server is away, or its answer breaks off in the middle of a line

    def _count(self, node: str) -> None:
        pods = {name: asked_for(pod) for name, pod in self._pods.items() if pod["spec"]["nodeName"] == node}
        if sum(pods.values()) > self._gpus[node]:
            self.twice.add(f"{node} has {self._gpus[node]} GPUs, but these pods: {sorted(pods)}")

    def _compare_records(self, node: str) -> None:
        """What is recorded on the pods of a node that gives exactly what is recorded is theirs alone."""
        promised: defaultdict[str, set[str]] = defaultdict(set)
        for name, pod in self._pods.items():
            if pod["spec"]["nodeName"] == node:
                for uuid in recorded(pod):
                    promised[uuid].add(name)
        for uuid, names in promised.items():
            if len(names) > 1:
                self.twice.add(f"{uuid} of {node} is recorded for {sorted(names)}")


def asked_for(pod: Object) -> int:
    """The GPUs that a pod of one container asks for."""
    limits = pod["spec"]["containers"][0]["resources"].get("limits") or {}
    return int(limits.get(GPU_RESOURCE, "0"))


def holders(node: Object) -> dict[int, set[str]]:
    """GPU to the pods that a node's annotation says to have it."""
    text = (node["metadata"].get("annotations") or {}).get(STATE_ANNOTATION)
    found: defaultdict[int, set[str]] = defaultdict(set)
    for holder in orjson.loads(text)["held"] if text else ():
        for gpu in holder["gpus"]:
            found[gpu].add(holder["pod"])
    return found


def recorded(pod: Object) -> Iterator[str]:
    """The UUIDs of the GPUs that are promised to a pod by identity."""
    text: Any = (pod["metadata"].get("annotations") or {}).get(ASSIGNED_ANNOTATION)
    record = orjson.loads(text) if text else {}
    if record.get("enforced"):
        yield from chain.from_iterable(record["containers"].values())
