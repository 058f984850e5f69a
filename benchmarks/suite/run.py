"""Runs parts of the suite, and sums them up for people and for programs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from benchmarks.suite.parts import PARTS
from benchmarks.suite.target import Target, summary
from gpu_topology.errors import GpuTopologyError, SettingsError
from tests.control_plane.processes import ProcessError
from tests.go_toolchain import GoError


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a part.

    Attributes:
        seconds: that it took.
        targets: its figures.
        obstacle: why it could not run here, or None.
    """

    name: str
    seconds: float
    targets: Sequence[Target]
    obstacle: str | None = None

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        part = PARTS[self.name]
        return {
            "part": self.name,
            "shortened": part.here or None,
            "whole": part.commands,
            "seconds": round(self.seconds, 1),
            "not_run": self.obstacle,
            "figures": [target.document() for target in self.targets],
        }


def run(names: Sequence[str], report: Callable[[str], None] = lambda _line: None) -> list[Result]:
    """Run parts, one after the other.

    Args:
        names: of the parts; none: all.
        report: is told before and after each.

    Raises:
        SettingsError: there is no such part.
    """
    if unknown := [name for name in names if name not in PARTS]:
        raise SettingsError(f"there is no part {unknown[0]!r}: the parts are {', '.join(PARTS)}")
    results = []
    for name in names or PARTS:
        report(f"{name}: some {PARTS[name].seconds} s")
        results.append(result := _run(name))
        report(f"{name}: {result.seconds:.0f} s, {result.obstacle or summary(result.targets)}")
    return results


def table(results: Sequence[Result]) -> Table:
    """Every figure with its target, part by part."""
    found = Table("part", "figure", "measured", "wanted", "ratio", "verdict", title="Figures and targets")
    for result in results:
        part = PARTS[result.name]
        name = f"{result.name} ({part.here})" if part.here else result.name
        if result.obstacle is not None:
            found.add_row(name, "", "", "", "", f"not run: {result.obstacle}")
        for number, target in enumerate(result.targets):
            wanted = "" if target.wanted is None else f"{target.side} {target.wanted:.4g}"
            ratio = "" if target.ratio is None else f"{target.ratio:.3f}"
            style = "bold red" if target.reached is False else None
            found.add_row(
                "" if number else name, target.figure, f"{target.measured:,.4g}", wanted, ratio, target.verdict,
                style=style,
            )  # fmt: skip
        found.add_section()
    everything = [target for result in results for target in result.targets]
    taken = sum(result.seconds for result in results)
    found.caption = f"{summary(everything)}, in {taken / 60:.1f} minutes"
    return found


def whole_forms(results: Sequence[Result]) -> list[str]:
    """The commands of what was shortened, a line each."""
    shortened = {result.name: PARTS[result.name] for result in results if PARTS[result.name].here}
    return [
        f"shortened: {name} ({part.here}); the whole: {'; '.join(part.commands)}" for name, part in shortened.items()
    ]


def _run(name: str) -> Result:
    started = time.monotonic()
    try:
        targets = list(PARTS[name].measure())
    except (GpuTopologyError, GoError, ProcessError) as error:
        return Result(name, time.monotonic() - started, (), str(error))
    return Result(name, time.monotonic() - started, targets)
