"""From the NVLink ports of every GPU to the NVLinks of every pair."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto


class FarEnd(Enum):
    """What an active NVLink leads to, where it is not a GPU of this node."""

    SWITCH = auto()
    """An NVSwitch."""
    ELSEWHERE = auto()
    """Something that joins no pair of this node's GPUs: a CPU, or a GPU that the driver does not show here."""
    UNKNOWN = auto()
    """The driver does not tell, or not even whether the link is active."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The active NVLinks of one GPU.

    Attributes:
        to_gpus: GPU index to how many links lead there directly.
        to_switch: how many lead to an NVSwitch.
        unknown: how many may be active and lead to another GPU or an NVSwitch without the driver saying so.
        fabric: the partition of the NVSwitch fabric that the GPU is registered in; None where unknown.
    """

    to_gpus: Counter[int] = field(default_factory=Counter)
    to_switch: int = 0
    unknown: int = 0
    fabric: str | None = None

    @classmethod
    def of(cls, far_ends: Iterable[int | FarEnd], fabric: str | None) -> "Ports":
        """Count the far ends of a GPU's links; an int is a GPU's index."""
        counts = Counter(far_ends)
        return cls(
            to_gpus=Counter({end: count for end, count in counts.items() if isinstance(end, int)}),
            to_switch=counts[FarEnd.SWITCH],
            unknown=counts[FarEnd.UNKNOWN],
            fabric=fabric,
        )


def links_of_pairs(ports: Sequence[Ports]) -> tuple[tuple[int, ...], ...]:
    """How many NVLinks join each pair, n x n. A link counts where both ends say that it is active."""
    gpus = range(len(ports))
    return tuple(tuple(0 if first == second else _links(ports, first, second) for second in gpus) for first in gpus)


def through_nvswitch(ports: Sequence[Ports]) -> bool | None:
    """Whether NVLinks go through an NVSwitch; None where no link is known, or an unknown one might."""
    if any(port.to_switch for port in ports):
        return True
    if any(port.unknown for port in ports):
        return None
    return False if any(port.to_gpus for port in ports) else None


def all_known(ports: Sequence[Ports]) -> bool:
    """Whether every link of every GPU is known: if not, what `links_of_pairs` counts are lower bounds."""
    return not any(port.unknown for port in ports)


def _links(ports: Sequence[Ports], first: int, second: int) -> int:
    direct = min(ports[first].to_gpus[second], ports[second].to_gpus[first])
    return direct + _switched_links(ports[first], ports[second])


def _switched_links(first: Ports, second: Ports) -> int:
    """Through an NVSwitch the GPU with fewer links decides; it does not join GPUs of different partitions."""
    if first.fabric is not None and second.fabric is not None and first.fabric != second.fabric:
        return 0
    return min(first.to_switch, second.to_switch)
