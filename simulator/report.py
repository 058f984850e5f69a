"""Comparisons for people and for programs: tables, JSON and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from rich.table import Table

from simulator.comparison import Comparison
from simulator.estimate import Estimate, estimate
from simulator.gain import gains


class _Column(NamedTuple):
    """A figure as people read it: a short title for a terminal, a label that explains itself for the page."""

    figure: str
    title: str
    label: str
    factor: float
    digits: int


_HOUR: Final = 1 / 3600
_COLUMNS: Final = (
    _Column("completion_mean_s", "completion h", "completion, mean (h)", _HOUR, 3),
    _Column("completion_p95_s", "95 % h", "completion, 95 % below (h)", _HOUR, 2),
    _Column("waiting_mean_s", "waiting h", "waiting, mean (h)", _HOUR, 3),
    _Column("waiting_p95_s", "95 % h", "waiting, 95 % below (h)", _HOUR, 2),
    _Column("slowdown_mean", "slowdown", "slowdown by slower links, mean", 1, 4),
    _Column("bandwidth_share_mean", "of ideal GB/s %", "share of the ideal bandwidth, mean (%)", 100, 1),
    _Column("bandwidth_share_p5", "5 %", "share of the ideal bandwidth, 95 % above (%)", 100, 1),
    _Column("best_class_share", "best class %", "pods with the best their kind of node gives (%)", 100, 1),
    _Column("allocation_ratio", "allocated %", "GPUs held, mean (%)", 100, 1),
    _Column("fragmentation", "fragmented %", "free GPUs fragmented, mean (%)", 100, 1),
)
_SPEED: Final = _Column("decisions_per_s", "decisions/s", "decisions of the program a second", 1, 0)

TITLES: Final = ("policy", *(column.title for column in (*_COLUMNS, _SPEED)))
"""Of the columns of `rows`, short."""
LABELS: Final = ("", *(column.label for column in (*_COLUMNS, _SPEED)))
"""The same, long."""


def rows(comparison: Comparison) -> list[list[str]]:
    """One row a policy: means over the seeds, and half the width of the 95 % confidence interval."""
    return [
        [
            policy,
            *(_cell(comparison.estimates(policy)[column.figure], column) for column in _COLUMNS),
            _cell(comparison.speed(policy), _SPEED),
        ]
        for policy in comparison.samples
    ]


def table(comparison: Comparison) -> Table:
    """`rows` for a terminal."""
    result = Table(*TITLES, title=title(comparison))
    result.caption = f"{comparison.scenario.description}; ± is the 95 % confidence interval over the seeds"
    for row in rows(comparison):
        result.add_row(*row)
    return result


def title(comparison: Comparison) -> str:
    """The scenario's name, with its load where it has one."""
    scenario = comparison.scenario
    return scenario.name if scenario.load is None else f"{scenario.name}, {100 * scenario.load:g} % load"


def left_out(comparison: Comparison) -> str | None:
    """A sentence about jobs that never started, or None where all did."""
    most = {
        policy: round(max(sample.figures["jobs_left_out"] for sample in samples))
        for policy, samples in comparison.samples.items()
    }
    if not any(most.values()):
        return None
    listed = ", ".join(f"{count} under {policy}" for policy, count in most.items() if count)
    return f"jobs that never found room for all their pods, and count in no figure: {listed}"


def difference_table(comparison: Comparison, first: str, second: str) -> Table:
    """What the first policy has more than the second, seed by seed: both have the same jobs."""
    result = Table("figure", first, second, "difference", title=f"{title(comparison)}: {first} against {second}")
    for name in comparison.samples[first][0].figures:
        pairs = zip(comparison.samples[first], comparison.samples[second], strict=True)
        gap = estimate([one.figures[name] - other.figures[name] for one, other in pairs])
        means = (f"{comparison.estimates(policy)[name].mean:,.4g}" for policy in (first, second))
        result.add_row(name, *means, _plain(gap))
    return result


def document_of(comparison: Comparison) -> dict[str, Any]:
    """A comparison's figures as JSON, with what each of this project's policies gains over the stock cluster."""
    return {**comparison.document(), "gains": [gain.document() for gain in gains(comparison)]}


def write_files(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write `results.json` and `results.csv`, one line for each workload, load, policy, seed and figure.

    Returns:
        The files.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document, sheet = folder / "results.json", folder / "results.csv"
    documents = [document_of(comparison) for comparison in comparisons]
    document.write_bytes(orjson.dumps(documents, option=orjson.OPT_INDENT_2))
    with sheet.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("workload", "load", "policy", "seed", "figure", "value"))
        for comparison in comparisons:
            scenario = comparison.scenario
            for policy, samples in comparison.samples.items():
                for sample in samples:
                    figures = {**sample.figures, _SPEED.figure: round(sample.decisions_per_s, 1)}
                    where = (scenario.name, scenario.load, policy, sample.seed)
                    writer.writerows((*where, *item) for item in figures.items())
    return [document, sheet]


def _cell(found: Estimate, column: _Column) -> str:
    mean = f"{found.mean * column.factor:,.{column.digits}f}"
    if found.half_width is None:
        return mean
    return f"{mean} ± {found.half_width * column.factor:,.{column.digits}f}"


def _plain(found: Estimate) -> str:
    return f"{found.mean:+,.4g}" + ("" if found.half_width is None else f" ± {found.half_width:,.4g}")
