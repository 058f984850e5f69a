"""What the API server tells of this node's pods: what each asks for, and how far it is. Kept up to date by a watch."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from gpu_topology.contract import ASSIGNED_ANNOTATION
from gpu_topology.request import GpuRequest, bound_request_of, has_ended

Assigned: TypeAlias = Mapping[str, frozenset[str]]
"""Container to the UUIDs of the GPUs that are recorded for it."""


@dataclass(frozen=True, slots=True)
class GpuPod:
    """A pod of this node.

    Attributes:
        name: "<namespace>/<name>".
        uid: its UID.
        request: what it asks for; of no container where it asks for no GPU.
        started: whether the kubelet has reported of its containers, as it does once it has admitted the pod.
        leaving: whether it is being deleted.
        ended: whether none of its containers runs any more, nor ever will.
        assigned: empty without a record, or with one that cannot be read.
    """

    name: str
    uid: str
    request: GpuRequest
    started: bool = False
    leaving: bool = False
    ended: bool = False
    assigned: Assigned = field(default_factory=dict)

    @property
    def stage(self) -> tuple[str, bool, bool, bool]:
        """What differs whenever the pod may just have got its GPUs, or be about to give them back."""
        return self.uid, self.started, self.leaving, self.ended


def _nobody() -> None:
    """Tell nobody."""


class PodCache:
    """The pods of this node; the handler of a watch of them.

    Attributes:
        pods: those that are known, by name.
        tell: called when a pod with GPUs comes, starts or goes: then the kubelet has news of who has what.
    """

    def __init__(self, tell: Callable[[], None] = _nobody) -> None:
        self.pods: dict[str, GpuPod] = {}
        self.tell = tell
        self._news = asyncio.Event()

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """The pods that exist."""
        self.pods = {pod.name: pod for pod in map(pod_of, objects)}
        self._news.set()
        self.tell()

    def changed(self, obj: dict[str, Any]) -> None:
        """A pod is new or has changed."""
        pod = pod_of(obj)
        former = self.pods.get(pod.name)
        self.pods[pod.name] = pod
        self._news.set()
        if not pod.request.is_empty and (former is None or former.stage != pod.stage):
            self.tell()

    def deleted(self, obj: dict[str, Any]) -> None:
        """A pod is gone; another of its name may be there already."""
        pod = pod_of(obj)
        if pod.name in self.pods and self.pods[pod.name].uid == pod.uid:
            del self.pods[pod.name]
        if not pod.request.is_empty:
            self.tell()

    async def wait_for(self, names: Collection[str]) -> None:
        """Wait until all pods with these names are known: the kubelet's own watch may be ahead of this one."""
        while not self.pods.keys() >= set(names):
            self._news.clear()
            await self._news.wait()


def pod_of(pod: Mapping[str, Any]) -> GpuPod:
    """Read a pod in the API server's JSON form.

    A wish that cannot be read counts as none: the pod is on this node, and has to get something.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    return GpuPod(
        name=f"{metadata['namespace']}/{metadata['name']}",
        uid=metadata["uid"],
        request=bound_request_of(pod),
        leaving=metadata.get("deletionTimestamp") is not None,
        ended=has_ended(pod),
        started=bool(status.get("containerStatuses") or status.get("initContainerStatuses")),
        assigned=_assigned(metadata.get("annotations") or {}),
    )


def _assigned(annotations: Mapping[str, str]) -> Assigned:
    try:
        record = orjson.loads(annotations.get(ASSIGNED_ANNOTATION, "{}"))
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(record, dict):
        return {}
    return {name: frozenset(map(str, uuids)) for name, uuids in record.items() if isinstance(uuids, list)}
