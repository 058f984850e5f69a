"""What a cluster's nodes are like: read from the overview that an extender serves, or makes here. Pure.

The overview is described field by field in docs/http-api.md; both sources give the same one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from extender.overview import GpuState
from extender.reports import Knowledge
from gputopo.output import counted, gbps

Node: TypeAlias = Mapping[str, Any]
"""One of the overview's nodes."""
Topologies: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The overview's kinds of machine."""

UNKNOWN: Final = "?"
NOTHING: Final = "-"
UNKNOWN_GPUS: Final = "unknown"
"""Stands for the state of GPUs that the kubelet offers and no report speaks of."""
_WITH_TOPOLOGY: Final = frozenset(
    {Knowledge.BAD_TOPOLOGY, Knowledge.NO_STATE, Knowledge.BAD_STATE, Knowledge.STALE_STATE}
)


def has_gpus(node: Node) -> bool:
    """Whether anybody says that a node has GPUs: its agent, its kubelet, or a pod that has some."""
    return bool(node["gpus"] or node["allocatable"] or node["pods"]) or node["knowledge"] in _WITH_TOPOLOGY


def model_of(node: Node, topologies: Topologies) -> str:
    """The models of a node's GPUs."""
    if node["topology"] is None:
        return UNKNOWN
    products = {gpu["product"] or "unknown model" for gpu in topologies[node["topology"]]["gpus"]}
    return " / ".join(sorted(products)) or NOTHING


def links_of(node: Node, topologies: Topologies) -> str:
    """The class of a node's links, as in the label `gpu-scheduler/interconnect`."""
    return UNKNOWN if node["topology"] is None else topologies[node["topology"]]["interconnect"] or UNKNOWN


def states_of(node: Node) -> Counter[str]:
    """How many of a node's GPUs are in each state, `UNKNOWN_GPUS` among them."""
    if node["gpus"] is None:
        return Counter({UNKNOWN_GPUS: node["allocatable"] or 0})
    return Counter(gpu["state"] for gpu in node["gpus"])


def free_of(node: Node) -> str:
    """How many of a node's GPUs are free: "4/8"."""
    free, total = node["free"], states_of(node).total()
    return f"{UNKNOWN if free is None else free}/{total or UNKNOWN}"


def largest_set(node: Node) -> str:
    """The set of all free GPUs, and what it is worth."""
    if node["free"] is None:
        return UNKNOWN
    if not node["best_sets"]:
        return counted(node["free"], "GPU") if node["free"] else NOTHING
    largest = node["best_sets"][-1]
    return f"{counted(len(largest['gpus']), 'GPU')}, {gbps(largest['bandwidth_gbps'])}"


def state_of(node: Node) -> str:
    """What is known of a node, and whether pods keep failing there."""
    standing = [] if node["standing"] == "good" else [node["standing"]]
    return ", ".join([node["knowledge"], *standing])


def is_troubled(node: Node) -> bool:
    """Whether somebody should look: GPUs that are unhealthy, cordoned or unknown, or pods that keep failing."""
    states = states_of(node)
    return bool(node["problem"] or node["standing_reason"] or states[GpuState.UNHEALTHY] or states[GpuState.CORDONED])


def notes_on(node: Node) -> Iterator[str]:
    """What is out of the ordinary on a node, in words."""
    if node["problem"]:
        yield node["problem"]
    if node["standing_reason"]:
        yield node["standing_reason"]
    for gpu in node["gpus"] or ():
        if gpu["reason"]:
            yield f"GPU {gpu['index']}: {gpu['reason']}"
    free, total = Counter[str](), Counter[str]()
    for pool in slices_of(node):
        free[pool["resource"]] += pool["free"]
        total[pool["resource"]] += pool["total"]
    for resource in total:
        yield f"{free[resource]}/{total[resource]} {resource} free"


def slices_of(node: Node) -> Iterator[Mapping[str, Any]]:
    """All parts of a node's GPUs."""
    for gpu in node["gpus"] or ():
        yield from gpu["slices"]
    yield from node["slices"] or ()


def totals_of(nodes: Iterable[Node]) -> dict[str, int]:
    """How many nodes there are, of how many of them the GPUs are unknown, and how many GPUs are in each state."""
    counts, number, unknown = Counter[str](), 0, 0
    for node in nodes:
        number += 1
        unknown += node["gpus"] is None
        counts.update(states_of(node))
    states = {str(state): counts[state] for state in (*GpuState, UNKNOWN_GPUS)}
    return {"nodes": number, "unknown_nodes": unknown, "gpus": counts.total(), **states}


def in_words(totals: Mapping[str, int]) -> str:
    """Totals in a line for a person."""
    states = ", ".join(f"{totals[state]} {state}" for state in (*GpuState, UNKNOWN_GPUS) if totals[state])
    line = f"{counted(totals['nodes'], 'node')}, {counted(totals['gpus'], 'GPU')}"
    return f"{line}: {states}" if states else line
