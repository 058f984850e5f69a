"""What the API server tells of this node's pods: what each asks for, and how far it is. Kept up to date by a watch."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gpu_topology.assignment import assignment_of
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
        assigned: empty without a record that can be trusted.
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

    def __init__(self, tell: Callable[[], None] = _nobody, *, trust_records: bool = False) -> None:
        """Know no pod yet.

        Args:
            tell: see above.
            trust_records: whether nobody but the extender can have written a record.
        """
        self.pods: dict[str, GpuPod] = {}
        self.tell = tell
        self._trust_records = trust_records
        self._news = asyncio.Event()

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """The pods that exist."""
        self.pods = {pod.name: pod for pod in map(self._read, objects)}
        self._news.set()
        self.tell()

    def changed(self, obj: dict[str, Any]) -> None:
        """A pod is new or has changed."""
        pod = self._read(obj)
        former = self.pods.get(pod.name)
        self.pods[pod.name] = pod
        self._news.set()
        if not pod.request.is_empty and (former is None or former.stage != pod.stage):
            self.tell()

    def deleted(self, obj: dict[str, Any]) -> None:
        """A pod is gone; another of its name may be there already."""
        pod = self._read(obj)
        if pod.name in self.pods and self.pods[pod.name].uid == pod.uid:
            del self.pods[pod.name]
        if not pod.request.is_empty:
            self.tell()

    async def wait_for(self, names: Collection[str]) -> None:
        """Wait until all pods with these names are known: the kubelet's own watch may be ahead of this one."""
        while not self.pods.keys() >= set(names):
            self._news.clear()
            await self._news.wait()

    def _read(self, obj: Mapping[str, Any]) -> GpuPod:
        return pod_of(obj, trust_record=self._trust_records)


def pod_of(pod: Mapping[str, Any], *, trust_record: bool) -> GpuPod:
    """Read a pod in the API server's JSON form.

    A wish that cannot be read counts as none: the pod is on this node, and has to get something.

    Args:
        pod: the pod.
        trust_record: whether nobody but the extender can have written its record.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    return GpuPod(
        name=f"{metadata['namespace']}/{metadata['name']}",
        uid=metadata["uid"],
        request=bound_request_of(pod),
        leaving=metadata.get("deletionTimestamp") is not None,
        ended=has_ended(pod),
        started=bool(status.get("containerStatuses") or status.get("initContainerStatuses")),
        assigned=assigned_of(pod) if trust_record else {},
    )


def assigned_of(pod: Mapping[str, Any]) -> Assigned:
    """What is recorded for each container of a pod in the API server's JSON form; nothing without a record."""
    assignment = assignment_of(pod)
    return {} if assignment is None else {name: frozenset(uuids) for name, uuids in assignment.containers}
