"""What an agent has to say of a node, and which annotations that makes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    Allocation,
    NodeState,
    decode_state,
    encode_state,
    topology_hash,
)
from gpu_topology.errors import ContractError
from topology_agent.occupancy import Occupancy


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What the annotations of a node are to say.

    Attributes:
        topology: the encoded topology; None where the hardware could not be read: then the state speaks of the topology
            that the node already has, and nothing can be said of a node without one.
        occupancy: who has which GPU.
        allocation: who chooses among the free GPUs.
        labels: those of our labels that are true of the node; None where that is not known, and the labels stay.
    """

    topology: str | None
    occupancy: Occupancy
    allocation: Allocation
    labels: Mapping[str, str] | None = None

    def changes(self, present: Mapping[str, str], last_sequence: int = 0) -> dict[str, str]:
        """The annotations to set so that a node says this; empty where it does already.

        Args:
            present: the annotations that the node has.
            last_sequence: the highest sequence number known to have been published for the node.

        Raises:
            OversizedError: the report does not fit into annotations.
        """
        topology = self.topology or present.get(TOPOLOGY_ANNOTATION)
        if topology is None:
            return {}
        changed = {} if present.get(TOPOLOGY_ANNOTATION) == topology else {TOPOLOGY_ANNOTATION: topology}
        there = state_in(present)
        due = self._state(topology_hash(topology), sequence=there.sequence if there else 0)
        if due != there:
            sequence = max(due.sequence, last_sequence) + 1
            changed[STATE_ANNOTATION] = encode_state(replace(due, sequence=sequence))
        return changed

    def label_changes(self, present: Mapping[str, str]) -> dict[str, str | None]:
        """The labels to set, or to remove where None, so that a node has those that are true and no other of ours.

        Args:
            present: those of our labels that the node has.
        """
        if self.labels is None:
            return {}
        wrong = {label: value for label, value in self.labels.items() if present.get(label) != value}
        return {**wrong, **{label: None for label in present if label not in self.labels}}

    def _state(self, topology: str, sequence: int) -> NodeState:
        return NodeState(
            topology_hash=topology,
            sequence=sequence,
            free=self.occupancy.free,
            held=self.occupancy.held,
            unhealthy=dict(self.occupancy.unhealthy),
            allocation=self.allocation,
            stale=self.occupancy.stale,
            slices=self.occupancy.usable_slices,
            held_slices=self.occupancy.held_slices,
        )


def state_in(annotations: Mapping[str, str]) -> NodeState | None:
    """The state that annotations hold; None where there is none that can be read: it is then written anew."""
    text = annotations.get(STATE_ANNOTATION)
    if text is None:
        return None
    try:
        return decode_state(text)
    except ContractError:
        return None
