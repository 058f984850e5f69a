"""Keeps annotations and labels of nodes equal to what their agents report: patches what differs, and nothing else."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION
from gpu_topology.errors import ContractError
from kubernetes_api import ApiError, NotFoundError
from topology_agent.labels import OWN_LABELS
from topology_agent.occupancy import Occupancy
from topology_agent.report import NodeReport, state_in
from topology_agent.workqueue import WorkQueue

OWN_KEYS: Final = (TOPOLOGY_ANNOTATION, STATE_ANNOTATION)
"""The annotations that an agent writes."""
ATTEMPTS: Final = 6
"""Tries for one node in a row, some 20 seconds together; what then still fails is tried again at the next resync."""
PAUSE: Final = wait_random_exponential(multiplier=0.2, max=10)
"""Between tries, in seconds; random, so that the agents of a cluster do not come back all at once."""

_log = structlog.get_logger(__name__)


class NodeApi(Protocol):
    """What is needed of `kubernetes_api.Cluster`."""

    async def get_node(self, name: str) -> dict[str, Any]:
        """One node; raises `ApiError`."""

    async def patch_node(
        self, name: str, *, annotations: Mapping[str, str | None], labels: Mapping[str, str | None] | None = None
    ) -> None:
        """Set annotations and labels; raises `ApiError`."""


class OwnMetadata(NamedTuple):
    """What stands on a node of what agents write."""

    annotations: dict[str, str]
    labels: dict[str, str]


class Publisher:
    """Writes reports on their nodes. Also the handler of a watch of nodes, from which it learns what is there.

    Attributes:
        synced: set when the nodes have been listed once.
    """

    def __init__(self, api: NodeApi, names: Collection[str], *, pause: wait_base = PAUSE) -> None:
        self._api = api
        self._names = frozenset(names)
        self._pause = pause
        self._reports: dict[str, NodeReport] = {}
        self._present: dict[str, OwnMetadata] = {}  # a node that is not in it is read before it is written
        self._sequences: dict[str, int] = {}
        self._uids: dict[str, str] = {}
        self._due = WorkQueue()
        self.synced = asyncio.Event()

    def publish(self, name: str, report: NodeReport) -> None:
        """Let a node say this from now on; `run` sees to it."""
        self._reports[name] = report
        self._due.add(name)

    def present(self, name: str) -> Mapping[str, str]:
        """Our annotations on a node, as last seen; empty where it has none or was never seen."""
        return self._present[name].annotations if name in self._present else {}

    def resync(self) -> None:
        """Forget what the nodes say and read them again: whatever was missed comes to light."""
        for name in self._reports:
            self._present.pop(name, None)
            self._due.add(name)

    async def run(self, workers: int) -> None:
        """Write whatever is due, with so many patches at once, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    async def write(self, name: str) -> bool:
        """Make a node say its report, with retries.

        Returns:
            Whether it does now. What failed is in the log, and due again when the node changes or at the next resync.
        """
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_is_worth_another_try),
                stop=stop_after_attempt(ATTEMPTS),
                wait=self._pause,
                before_sleep=_note_failure(name),
                reraise=True,
            ):
                with attempt:
                    await self._converge(name)
        except NotFoundError:
            _log.warning("the node does not exist; its annotations wait for it", node=name)
            return False
        except (ApiError, ContractError) as error:
            _log.error("the node could not be written", node=name, error=str(error))
            return False
        return True

    # What a watch of nodes says.

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """The nodes that exist."""
        self._uids.clear()
        self._present.clear()
        for node in objects:
            self.changed(node)
        self.synced.set()

    def changed(self, obj: dict[str, Any]) -> None:
        """A node is new or has changed: is what it says still what it should say?"""
        metadata = obj["metadata"]
        name = metadata["name"]
        if name not in self._names:
            return
        seen = own_metadata(obj)
        same_node = self._uids.get(name) == metadata["uid"]
        if same_node and (self._present.get(name) == seen or self._is_outdated(name, seen.annotations)):
            return
        self._uids[name] = metadata["uid"]
        self._take(name, seen)
        if name in self._reports:
            self._due.add(name)

    def deleted(self, obj: dict[str, Any]) -> None:
        """A node is gone."""
        name = obj["metadata"]["name"]
        if self._uids.pop(name, None) is not None:
            _log.warning("the node is gone; its annotations wait for its return", node=name)
        self._present.pop(name, None)

    def _take(self, name: str, metadata: OwnMetadata) -> None:
        """Note what a node says, and the sequence number to go on from even if somebody removes it."""
        self._present[name] = metadata
        state = state_in(metadata.annotations)
        if state is not None:
            self._sequences[name] = max(state.sequence, self._sequences.get(name, 0))

    def _is_outdated(self, name: str, annotations: Mapping[str, str]) -> bool:
        """Whether an event is older than what we know, such as our own last patch, which the watch has yet to bring."""
        state = state_in(annotations)
        return state is not None and state.sequence < self._sequences.get(name, 0)

    async def _work(self) -> None:
        while True:
            name = await self._due.take()
            try:
                await self.write(name)
            finally:
                self._due.done(name)

    async def _converge(self, name: str) -> None:
        try:
            if name not in self._present:
                self._take(name, own_metadata(await self._api.get_node(name)))
            present = self._present[name]
            report = self._reports[name]
            changes = report.changes(present.annotations, self._sequences.get(name, 0))
            label_changes = report.label_changes(present.labels)
            if not changes and not label_changes:
                return
            await self._api.patch_node(name, annotations=changes, labels=label_changes)
        except ApiError:
            self._present.pop(name, None)  # the patch may have arrived all the same
            raise
        labels = {**present.labels, **label_changes}
        kept = {label: value for label, value in labels.items() if value is not None}
        self._take(name, OwnMetadata({**present.annotations, **changes}, kept))
        _log_success(name, report.occupancy, self._sequences.get(name), changes)


def own_metadata(node: Mapping[str, Any]) -> OwnMetadata:
    """The annotations and labels of a node that agents write."""
    annotations = node["metadata"].get("annotations") or {}
    labels = node["metadata"].get("labels") or {}
    return OwnMetadata(
        {key: annotations[key] for key in OWN_KEYS if key in annotations},
        {key: labels[key] for key in OWN_LABELS if key in labels},
    )


def _log_success(name: str, occupancy: Occupancy, sequence: int | None, changes: Mapping[str, str]) -> None:
    _log.info(
        "published",
        node=name,
        sequence=sequence,
        free=occupancy.free,
        holders=len(occupancy.held),
        unhealthy=sorted(occupancy.unhealthy),
        stale=occupancy.stale,
        topology=TOPOLOGY_ANNOTATION in changes,
    )


def _is_worth_another_try(error: BaseException) -> bool:
    return isinstance(error, ApiError) and not isinstance(error, NotFoundError)


def _note_failure(name: str) -> Any:
    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = round(state.upcoming_sleep, 1)
        _log.warning("writing the node failed, trying again", node=name, error=str(error), pause_seconds=pause)

    return note
