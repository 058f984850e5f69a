"""Comparisons for people and for programs: tables, JSON and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from rich.table import Table

from benchmarks.simulation.comparison import Comparison
from benchmarks.simulation.estimate import Estimate, estimate


class _Column(NamedTuple):
    figure: str
    title: str
    factor: float
    digits: int


_HOUR: Final = 1 / 3600
_COLUMNS: Final = (
    _Column("completion_mean_s", "completion h", _HOUR, 3),
    _Column("completion_p95_s", "95 % h", _HOUR, 2),
    _Column("waiting_mean_s", "waiting h", _HOUR, 3),
    _Column("waiting_p95_s", "95 % h", _HOUR, 2),
    _Column("slowdown_mean", "slowdown", 1, 4),
    _Column("bandwidth_share_mean", "of ideal GB/s %", 100, 1),
    _Column("bandwidth_share_p5", "5 %", 100, 1),
    _Column("best_class_share", "best class %", 100, 1),
    _Column("allocation_ratio", "allocated %", 100, 1),
    _Column("fragmentation", "fragmented %", 100, 1),
)


def table(comparison: Comparison) -> Table:
    """One row a policy: means over the seeds, and half the width of the 95 % confidence interval."""
    result = Table("policy", *(column.title for column in _COLUMNS), "decisions/s", title=comparison.name)
    result.caption = f"{comparison.workload.description}; ± is the 95 % confidence interval over the seeds"
    speeds = comparison.document()["decisions_per_s"]
    for policy in comparison.samples:
        found = comparison.estimates(policy)
        cells = (_cell(found[column.figure], column) for column in _COLUMNS)
        result.add_row(policy, *cells, f"{speeds[policy]:,}")
    return result


def difference_table(comparison: Comparison, first: str, second: str) -> Table:
    """What the first policy has more than the second, seed by seed: both have the same jobs."""
    result = Table("figure", first, second, "difference", title=f"{comparison.name}: {first} against {second}")
    for name in comparison.samples[first][0].figures:
        pairs = zip(comparison.samples[first], comparison.samples[second], strict=True)
        gap = estimate([one.figures[name] - other.figures[name] for one, other in pairs])
        means = (f"{comparison.estimates(policy)[name].mean:,.4g}" for policy in (first, second))
        result.add_row(name, *means, _plain(gap))
    return result


def write_files(comparisons: Sequence[Comparison], folder: Path) -> list[Path]:
    """Write `results.json` and `results.csv`, one line for each workload, policy, seed and figure.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document, sheet = folder / "results.json", folder / "results.csv"
    options = orjson.OPT_INDENT_2
    document.write_bytes(orjson.dumps([comparison.document() for comparison in comparisons], option=options))
    with sheet.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(("workload", "policy", "seed", "figure", "value"))
        for comparison in comparisons:
            for policy, samples in comparison.samples.items():
                for sample in samples:
                    writer.writerows((comparison.name, policy, sample.seed, *item) for item in sample.figures.items())
    return [document, sheet]


def _cell(found: Estimate, column: _Column) -> str:
    mean = f"{found.mean * column.factor:.{column.digits}f}"
    if found.half_width is None:
        return mean
    return f"{mean} ± {found.half_width * column.factor:.{column.digits}f}"


def _plain(found: Estimate) -> str:
    return f"{found.mean:+,.4g}" + ("" if found.half_width is None else f" ± {found.half_width:,.4g}")
