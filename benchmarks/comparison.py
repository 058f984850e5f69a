"""The same pods with the extender and without: a row a pod, and what it comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Final

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Got:
    """What a pod got.

    Attributes:
        node: where it is bound.
        gpus: its GPUs, by index.
        bandwidth_gbps: of the best ring through them; 0 for a single GPU.
    """

    node: str
    gpus: tuple[int, ...]
    bandwidth_gbps: float


@dataclass(frozen=True, slots=True)
class Row:
    """One pod in both worlds; None where no node had as many GPUs free (the demonstrations then drop the pod)."""

    pod: str
    gpus: int
    ours: Got | None
    default: Got | None


def summary(rows: Sequence[Row]) -> dict[str, float]:
    """Mean GB/s of the sets that pods with several GPUs got, in both worlds, over the pods that both could place."""
    both = [(row.ours, row.default) for row in rows if row.gpus > 1 and row.ours and row.default]
    ours = mean(got.bandwidth_gbps for got, _ in both)
    default = mean(got.bandwidth_gbps for _, got in both)
    return {
        "pods_compared": len(both),
        "mean_gbps": round(ours, 1),
        "mean_gbps_default": round(default, 1),
        "ratio": round(ours / default, 2),
    }


def verdict(figures: dict[str, float]) -> str:
    """The summary in a sentence, in rich's markup."""
    return _VERDICT.format(**figures)


def table(rows: Sequence[Row]) -> Table:
    """The rows for a person; green where the extender made a difference for the better."""
    result = Table("pod", "GPUs", "with the extender", "GB/s", "default scoring", "GB/s")
    for row in rows:
        better = bool(row.ours and row.default and row.ours.bandwidth_gbps > row.default.bandwidth_gbps)
        style = "green" if better else ""
        result.add_row(row.pod, str(row.gpus), *_cells(row.ours, style), *_cells(row.default, ""))
    return result


_VERDICT: Final = (
    "\nMean of the {pods_compared} pods with several GPUs: [bold green]{mean_gbps} GB/s[/bold green] with the "
    "extender, {mean_gbps_default} GB/s by the default scoring: [bold]{ratio} times[/bold]."
)


def _cells(got: Got | None, style: str) -> tuple[Text, Text]:
    if got is None:
        return Text("no node has as many free"), Text("")
    gpus = ",".join(map(str, got.gpus))
    bandwidth = f"{got.bandwidth_gbps:.1f}" if len(got.gpus) > 1 else "-"
    return Text(f"{got.node} [{gpus}]", style), Text(bandwidth, style)
