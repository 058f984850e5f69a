"""How much of a cluster is allocated, in few lines. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from extender.overview import GpuState
from gputopo.cluster import UNKNOWN, UNKNOWN_GPUS, Node, Topologies, in_words, links_of, model_of, states_of, totals_of
from gputopo.columns import Cell, Column, Row, lines_of
from gputopo.output import gbps

_BAR: Final = 10
"""Characters of a full bar."""
_TAKEN: Final = (GpuState.HELD, GpuState.SLICED)
"""The states of GPUs that count as allocated: a GPU that is cut or shared is, whoever has its parts."""


class By(StrEnum):
    """What a line of the summary stands for."""

    CLASS = "class"
    """The machines with one model of GPUs and one class of links."""
    NODE = "node"


@dataclass(slots=True)
class Group:
    """A line of the summary.

    Attributes:
        name: what it stands for: a class of links and a model, or a node besides.
        nodes: how many there are.
        states: how many GPUs are in each state.
        pods: how many pods have some.
        largest: GPUs of the largest set that is free on one node, and its GB/s; 0 GPUs where none is free.
    """

    name: tuple[str, ...]
    nodes: int = 0
    states: Counter[str] = field(default_factory=Counter)
    pods: int = 0
    largest: tuple[int, float] = (0, 0.0)

    @property
    def allocated(self) -> float | None:
        """The share of the GPUs in service that pods have, 0 to 1; None where no GPU is known to be in service."""
        taken = sum(self.states[state] for state in _TAKEN)
        in_service = taken + self.states[GpuState.FREE]
        return taken / in_service if in_service else None

    def add(self, node: Node) -> None:
        """Count a node in."""
        self.nodes += 1
        self.states += states_of(node)
        self.pods += len(node["pods"])
        bandwidth = node["best_sets"][-1]["bandwidth_gbps"] if node["best_sets"] else 0.0
        self.largest = max(self.largest, (node["free"] or 0, bandwidth))

    def document(self, by: By) -> dict[str, Any]:
        """The same as JSON."""
        gpus, bandwidth = self.largest
        return {
            **{name: None if value == UNKNOWN else value for name, value in zip(_NAMES[by], self.name, strict=True)},
            "nodes": self.nodes,
            "gpus": self.states.total(),
            **{str(state): self.states[state] for state in (*GpuState, UNKNOWN_GPUS)},
            "allocated": None if self.allocated is None else round(self.allocated, 4),
            "pods": self.pods,
            "largest_free_set": {"gpus": gpus, "bandwidth_gbps": bandwidth},
        }


_NAMES: Final = {By.CLASS: ("links", "model"), By.NODE: ("node", "links", "model")}


def groups_of(nodes: Iterable[Node], topologies: Topologies, by: By) -> list[Group]:
    """The lines of the summary, those that are allocated most first."""
    groups: dict[tuple[str, ...], Group] = {}
    for node in nodes:
        own = (links_of(node, topologies), model_of(node, topologies))
        name = own if by is By.CLASS else (node["name"], *own)
        groups.setdefault(name, Group(name)).add(node)
    return sorted(groups.values(), key=lambda group: (-(group.allocated or 0.0), group.name))


def summary(
    document: Mapping[str, Any], by: By, at: datetime, width: int | None = None, height: int | None = None
) -> Iterator[str]:
    """The summary for a person.

    Args:
        document: the overview.
        by: what a line stands for.
        at: of when it is.
        width: characters in a line of the terminal; None where nothing is to be cut.
        height: lines of the terminal; None where all groups are shown.
    """
    groups = groups_of(document["nodes"], document["topologies"], by)
    yield f"{in_words(totals_of(document['nodes']))}; as of {at:%H:%M:%S} UTC"
    yield "allocated is what pods hold, not how busy the GPUs are"
    shown = groups if height is None else groups[: max(height - _OTHER_LINES, 1)]
    columns = [Column(name.upper(), gives_way=name == "model") for name in _NAMES[by]]
    yield from lines_of([*columns, *_COLUMNS], (_row(group) for group in shown), width)
    if len(shown) < len(groups):
        yield f"... and {len(groups) - len(shown)} more"


_OTHER_LINES: Final = 5
"""The two at the top, the headings, the one that says how many more there are, and the cursor's."""
_COLUMNS: Final = (
    Column("NODES", right=True),
    Column("GPUS", right=True),
    Column("FREE", right=True),
    Column("HELD", right=True),
    Column("SLICED", right=True, optional=True),
    Column("OUT", right=True, optional=True),
    Column("UNKNOWN", right=True, optional=True),
    Column("PODS", right=True, optional=True),
    Column("LARGEST FREE SET"),
    Column("ALLOCATED", right=True),
    Column("", optional=True),
)


def _row(group: Group) -> Row:
    states, (gpus, bandwidth) = group.states, group.largest
    out = states[GpuState.UNHEALTHY] + states[GpuState.CORDONED]
    return [
        *group.name,
        str(group.nodes),
        str(states.total()),
        str(states[GpuState.FREE]),
        str(states[GpuState.HELD]),
        str(states[GpuState.SLICED]),
        Cell(str(out), "red" if out else None),
        Cell(str(states[UNKNOWN_GPUS]), "yellow" if states[UNKNOWN_GPUS] else None),
        str(group.pods),
        f"{gpus}, {gbps(bandwidth)}" if bandwidth else str(gpus),
        UNKNOWN if group.allocated is None else f"{group.allocated:.0%}",
        _bar(group.allocated or 0.0),
    ]


def _bar(share: float) -> str:
    full = round(share * _BAR)
    return "█" * full + "░" * (_BAR - full)
