"""What a pod's GPUs are, how well they are linked, and what that rests on, as cells of a list. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from extender.findings import Basis
from extender.overview import REPORTED
from gputopo.cluster import NOTHING, UNKNOWN
from gputopo.columns import Cell
from gputopo.output import counted

BASES: Final[Mapping[str, str]] = {
    REPORTED: "known",
    Basis.RECORDED: "recorded",
    Basis.ENFORCED: "expected",
    Basis.PREDICTED: "expected",
}
"""What a pod's GPUs are known from, in a word: see docs/gputopo.md."""
BY_DRA: Final = "by DRA"
_GOOD_SHARE: Final = 0.999
"""A pod whose set has this share of the best possible bandwidth has the best; figures are rounded to a tenth."""

Pod = Mapping[str, Any]
"""One of the pods of the overview's nodes."""


def gpus_cell(pod: Pod) -> str:
    """The GPUs of a pod, its parts of GPUs, and what it has from a DRA driver; "?" where only the number is known."""
    parts = [f"{count} x {resource}" for resource, count in pod["slices"].items()]
    if pod["claimed"]:
        parts.append(f"{counted(pod['claimed'], 'GPU')} {BY_DRA}")
    if pod["gpus"]:
        parts.insert(0, ",".join(map(str, pod["gpus"])))
    elif pod["asks_for"] and not pod["slices"]:
        parts.insert(0, f"{UNKNOWN} ({counted(pod['asks_for'], 'GPU')})")
    return ", ".join(parts) or NOTHING


def basis_cell(pod: Pod) -> Cell:
    """What the pod's GPUs are known from."""
    if pod["basis"] is None:
        return Cell(BY_DRA) if pod["claimed"] else Cell("unknown", "yellow")
    return Cell(word_for(pod["basis"]))


def word_for(basis: str) -> str:
    """What a pod's GPUs are known from, in a word; a basis that is new is its own."""
    return BASES.get(basis, basis)


def bandwidth_cells(pod: Pod) -> tuple[Cell, Cell]:
    """GB/s of the pod's set, and of the best of that size that its machine has; "-" where it has no pair of GPUs."""
    own, best = pod["bandwidth_gbps"], pod["best_bandwidth_gbps"]
    if own is None or best is None:
        return Cell(UNKNOWN if (pod["asks_for"] or 0) > 1 and not pod["gpus"] else NOTHING), Cell(NOTHING)
    return Cell(f"{own:.1f}", None if own >= _GOOD_SHARE * best else "yellow"), Cell(f"{best:.1f}")
