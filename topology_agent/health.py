"""Which GPUs of a node pods must not get though they are there, and what people should be told about it. Pure."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gpu_topology.cordon import CORDONED, parse_cordon
from gpu_topology.errors import MalformedError
from gpu_topology.topology import NodeTopology
from kubernetes_api import NodeEvent
from topology_agent.sources.nvml import Reading
from topology_agent.xids import XidEvent

MOST_PAIRS: Final = 8
"""Pairs of GPUs that one event about NVLinks names."""


class LinkChange(NamedTuple):
    """A pair of GPUs, and how many NVLinks joined it before and join it now."""

    first: int
    second: int
    before: int
    now: int


def _nobody(_: NodeEvent) -> None:
    """Tell nobody: for a single look."""


class NodeHealth:
    """The health of the GPUs of one node, from all that tells of it.

    What a reading of the hardware finds wrong is over when a later one does not find it. What an XID error took away
    stays so until the driver restarts, as nothing else tells that the GPU was reset: see `forget_xids`.
    """

    def __init__(self, tell: Callable[[NodeEvent], None] = _nobody) -> None:
        self._tell = tell
        self._topology: NodeTopology | None = None
        self._found: dict[int, str] = {}
        self._xids: dict[int, str] = {}
        self._told: dict[int, str] = {}
        self._cordon = ""
        self._cordoned: frozenset[int] = frozenset()
        self._misread_cordon: str | None = None

    @property
    def reasons(self) -> dict[int, str]:
        """GPU index to why no pod should get it, in order. Where several reasons hold, the hardware's is given."""
        reasons = {**dict.fromkeys(self._cordoned, CORDONED), **self._xids, **self._found}
        return dict(sorted(reasons.items()))

    def take(self, reading: Reading) -> None:
        """The hardware was read. What is known of lost GPUs from before must be in the topology."""
        self._tell_of_links(self._topology, reading.topology)
        self._topology = reading.topology
        self._found = {**reading.faults, **reading.unhealthy}
        self._tell_of_gpus(reading.topology)
        self._read_cordon(reading.topology)

    def hit(self, event: XidEvent) -> None:
        """An XID error occurred."""
        if event.gpu is None or event.loss is None:
            return
        self._xids[event.gpu] = event.loss
        if self._topology is not None:
            self._tell_of_gpus(self._topology)

    def forget_xids(self) -> None:
        """The driver went away. The next one begins with GPUs that were reset."""
        self._xids.clear()

    def cordon(self, text: str) -> None:
        """The node's cordon annotation is this; empty where it has none."""
        self._cordon = text
        if self._topology is not None:
            self._read_cordon(self._topology)

    def _read_cordon(self, topology: NodeTopology) -> None:
        try:
            self._cordoned = parse_cordon(self._cordon, topology)
            self._misread_cordon = None
        except MalformedError as error:
            self._cordoned = frozenset()
            if str(error) != self._misread_cordon:
                note = f"{error}. No GPU is cordoned until the annotation is corrected."
                self._tell(NodeEvent("GpuCordonUnreadable", "CordonIgnored", note, is_warning=True))
            self._misread_cordon = str(error)

    def _tell_of_gpus(self, topology: NodeTopology) -> None:
        """One event for all GPUs that were lost since the last time, and one for all that came back."""
        wrong = dict(sorted({**self._xids, **self._found}.items()))
        lost = [f"{_name(gpu, topology)}: {why}" for gpu, why in wrong.items() if gpu not in self._told]
        back = [_name(gpu, topology) for gpu in self._told if gpu not in wrong]
        self._told = wrong
        if lost:
            self._tell(NodeEvent("GpuLost", "TakenOut", f"Lost {'; '.join(lost)}.", is_warning=True))
        if back:
            self._tell(NodeEvent("GpuReturned", "PutBack", f"Back in use: {', '.join(back)}.", is_warning=False))

    def _tell_of_links(self, before: NodeTopology | None, now: NodeTopology) -> None:
        changes = link_changes(before, now)
        if down := [change for change in changes if change.now < change.before]:
            self._tell(NodeEvent("NvlinkDown", "LinksCounted", _links_note("went down", down), is_warning=True))
        if up := [change for change in changes if change.now > change.before]:
            self._tell(NodeEvent("NvlinkUp", "LinksCounted", _links_note("came up", up), is_warning=False))


def link_changes(before: NodeTopology | None, now: NodeTopology) -> list[LinkChange]:
    """The pairs whose number of active NVLinks changed.

    Nothing is said where either reading may have missed links, or where the GPUs are not the same.
    """
    if before is None or not (before.nvlinks_complete and now.nvlinks_complete):
        return []
    if [gpu.uuid for gpu in before.gpus] != [gpu.uuid for gpu in now.gpus]:
        return []
    pairs = (LinkChange(i, j, before.nvlinks[i][j], now.nvlinks[i][j]) for i, j in now.pairs())
    return [pair for pair in pairs if pair.before != pair.now]


def _links_note(what: str, changes: Sequence[LinkChange]) -> str:
    pairs = (f"GPU {pair.first} and {pair.second} {pair.before} to {pair.now}" for pair in changes[:MOST_PAIRS])
    more = f" and {len(changes) - MOST_PAIRS} more pairs" if len(changes) > MOST_PAIRS else ""
    return f"NVLinks {what}: {', '.join(pairs)}{more}. The node is ranked by the links that are up."


def _name(gpu: int, topology: NodeTopology) -> str:
    uuid = topology.gpus[gpu].uuid if gpu < len(topology) else None
    return f"GPU {gpu}" if uuid is None else f"GPU {gpu} ({uuid})"
