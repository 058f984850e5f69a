"""What is known of a node's GPUs, read from its annotations; and if it is not known, why.

Unknown is a state of its own: the node is not taken for empty, nor for full.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    NodeState,
    check_state,
    decode_state,
    decode_topology,
    topology_hash,
)
from gpu_topology.errors import ContractError, PlacementError
from gpu_topology.kind import MachineKind, kind_of
from gpu_topology.placement import LinkTables, WorthModels, tables_of
from gpu_topology.request import GPU_RESOURCE

_MOST_DIGITS: Final = 9
"""In a number of GPUs that is worth reading."""


class Knowledge(StrEnum):
    """Whether a node's GPUs and who has them are known, or what stands in the way."""

    KNOWN = "known"
    UNSEEN = "unseen"
    """The API server has not told us of this node."""
    NO_TOPOLOGY = "no-topology"
    BAD_TOPOLOGY = "bad-topology"
    """The topology annotation cannot be read, or describes another machine than the kubelet does."""
    NO_STATE = "no-state"
    BAD_STATE = "bad-state"
    """The state annotation cannot be read, or speaks of another topology."""
    STALE_STATE = "stale-state"
    """The agent says that it cannot see the node's GPUs at present."""
    DRA = "dra"
    """Its GPUs come from a DRA driver, which chooses them itself: see `extender.dra`."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Machine:
    """What is kept of a topology; shared by nodes with equal annotations.

    Of its links only tables and kind are, which all machines of a kind share: they are most of a decoded topology.

    Attributes:
        uuids: of its GPUs, in the order of their indices; None where unknown.
        tables: what placement needs to judge sets of these GPUs.
        kind: what else machines of its kind have in common, for people to look at.
        clique: `NodeTopology.clique`.
    """

    uuids: tuple[str | None, ...]
    tables: LinkTables
    kind: MachineKind
    clique: str | None


class _Source(NamedTuple):
    """What a report was read from: if this is equal, so is the report."""

    topology: str | None
    state: str | None
    allocatable: int | None


_NOTHING_READ: Final = _Source(None, None, None)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node's annotations say.

    Attributes:
        knowledge: whether the rest can be relied upon.
        problem: why not, in a sentence for a person; None if known.
        machine: the hardware; None unless known.
        state: who has which GPU; None unless known.
        allocatable: GPUs that the kubelet offers, or None where the node does not say.
    """

    knowledge: Knowledge
    problem: str | None = None
    machine: Machine | None = None
    state: NodeState | None = None
    allocatable: int | None = None
    source: _Source = _NOTHING_READ

    @property
    def offers_gpus(self) -> bool:
        """Whether a device plugin offers GPUs or parts of them, as kube-scheduler and the agent see it."""
        return bool(self.allocatable) or bool(self.state and self.state.slices)


UNSEEN = NodeReport(Knowledge.UNSEEN, "the node has not been announced to the extender")


class _UnknownError(Exception):
    """Carries why a node is not known out of the steps of reading it."""

    def __init__(self, knowledge: Knowledge, problem: str) -> None:
        super().__init__(problem)
        self.knowledge = knowledge


class ReportReader:
    """Reads nodes; remembers machines as long as a report refers to them.

    Args:
        models: how the worth of a set of GPUs is computed.
    """

    def __init__(self, models: WorthModels) -> None:
        self._models = models
        self._machines: WeakValueDictionary[str, Machine] = WeakValueDictionary()

    def read(self, node: Mapping[str, Any], previous: NodeReport = UNSEEN) -> NodeReport:
        """The report of a node in the API server's JSON form.

        Args:
            node: the node.
            previous: the report that was read of it before; returned again where nothing in it has changed.
        """
        annotations = _mapping(_mapping(node.get("metadata")).get("annotations"))
        topology, state = annotations.get(TOPOLOGY_ANNOTATION), annotations.get(STATE_ANNOTATION)
        allocatable = _count(_mapping(_mapping(node.get("status")).get("allocatable")).get(GPU_RESOURCE))
        source = _Source(_digest(topology), _digest(state), allocatable)
        if source == previous.source and previous is not UNSEEN:
            return previous
        try:
            machine, known_state = self._known(topology, state, allocatable)
        except _UnknownError as error:
            return NodeReport(error.knowledge, str(error), allocatable=allocatable, source=source)
        return NodeReport(Knowledge.KNOWN, None, machine, known_state, allocatable, source)

    def _known(self, topology: object, state: object, allocatable: int | None) -> tuple[Machine, NodeState]:
        if not isinstance(topology, str):
            raise _UnknownError(Knowledge.NO_TOPOLOGY, f"the node has no annotation {TOPOLOGY_ANNOTATION}")
        machine = self._decoded(topology)
        known = _state(state, machine, topology)
        described = len(machine.uuids) + _slices_named_gpu(known)
        if allocatable is not None and allocatable > described:
            raise _UnknownError(
                Knowledge.BAD_TOPOLOGY,
                f"{TOPOLOGY_ANNOTATION} describes {described} GPUs, but the kubelet offers {allocatable}",
            )
        return machine, known

    def _decoded(self, annotation: str) -> Machine:
        fingerprint = topology_hash(annotation)
        machine = self._machines.get(fingerprint)
        if machine is None:
            try:
                topology = decode_topology(annotation)
                uuids = tuple(gpu.uuid for gpu in topology.gpus)
                tables = tables_of(topology, self._models.of(topology))
                machine = Machine(uuids, tables, kind_of(topology), _interned(topology.clique))
            except (ContractError, PlacementError) as error:
                raise _UnknownError(Knowledge.BAD_TOPOLOGY, str(error)) from error
            self._machines[fingerprint] = machine
        return machine


def _state(annotation: object, machine: Machine, topology_annotation: str) -> NodeState:
    if not isinstance(annotation, str):
        raise _UnknownError(Knowledge.NO_STATE, f"the node has no annotation {STATE_ANNOTATION}")
    try:
        state = decode_state(annotation)
        check_state(state, machine.uuids, topology_annotation)
    except ContractError as error:
        raise _UnknownError(Knowledge.BAD_STATE, str(error)) from error
    if state.stale is not None:
        raise _UnknownError(Knowledge.STALE_STATE, f"the agent's report is stale: {state.stale}")
    if state.free is None:
        raise _UnknownError(Knowledge.STALE_STATE, "the agent does not know which GPUs are free")
    return state


def _interned(text: str | None) -> str | None:
    """The one object of all equal texts: every node of a rack names the same clique."""
    return None if text is None else sys.intern(text)


def _slices_named_gpu(state: NodeState) -> int:
    """How many slices go under the name of whole GPUs."""
    return sum(pool.total for pool in state.slices or () if pool.resource == GPU_RESOURCE)


def _digest(annotation: object) -> str | None:
    return topology_hash(annotation) if isinstance(annotation, str) else None


def _count(quantity: object) -> int | None:
    """A quantity of whole GPUs, or None where there is none or it is no plain number."""
    plain = isinstance(quantity, str) and quantity.isdecimal() and len(quantity) <= _MOST_DIGITS
    return int(str(quantity)) if plain else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
