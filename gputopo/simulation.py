"""What `gputopo simulate` does: finds machines and jobs, plays them, and tells what came of it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import Progress

from gpu_topology.errors import SettingsError
from gpu_topology.topology import NodeTopology
from gputopo.live_nodes import read_live_nodes
from gputopo.output import console, print_json
from simulator import report
from simulator.comparison import Comparison, compare
from simulator.gain import STOCK, gains
from simulator.generators import DISTRIBUTIONS
from simulator.machines import read_nodes
from simulator.page import NO_PICTURES, can_draw, write_page
from simulator.run import check_policies
from simulator.scenario import Generated, JobSource, Scenario, Traced

_POLICIES: Final = ("extender-best", "extender")
_GENERATED_LOAD: Final = 0.9
_NODES_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Machines:
    """The cluster: how it is called, and each node's topology."""

    name: str
    topologies: Mapping[str, NodeTopology]


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs, and the load at which they arrive where none is asked for; None: as the source has it."""

    description: str
    source: JobSource
    load: float | None


def listed(file: Path) -> Machines:
    """The machines that a file lists.

    Raises:
        GpuTopologyError: see `simulator.machines.read_nodes`.
    """
    return Machines(file.stem, read_nodes(file))


def running(kubeconfig: Path | None) -> Machines:
    """The machines of the running cluster; those whose links are not known are named on standard error.

    Raises:
        GpuTopologyError: see `gputopo.live_nodes.read_live_nodes`.
    """
    found = read_live_nodes(kubeconfig)
    if found.unknown:
        named = "; ".join(f"{name}: {reason}" for name, reason in list(found.unknown.items())[:_NODES_NAMED])
        more = "; ..." if len(found.unknown) > _NODES_NAMED else ""
        sys.stderr.write(f"gputopo: warning: GPU nodes that are left out: {len(found.unknown)}: {named}{more}\n")
    return Machines("the running cluster", found.machines)


def traced(file: Path) -> Jobs:
    """The jobs of a trace."""
    return Jobs(f"the jobs of {file.name}", Traced(file), None)


def made_up(distribution: str, count: int) -> Jobs:
    """Jobs as in a public trace.

    Raises:
        SettingsError: there is no such distribution.
    """
    if distribution not in DISTRIBUTIONS:
        raise SettingsError(f"jobs cannot be made up as in {distribution!r}, only as in {', '.join(DISTRIBUTIONS)}")
    return Jobs(f"{count:,} jobs as in the {distribution} trace", Generated(distribution, count), _GENERATED_LOAD)


def play(
    machines: Machines, jobs: Jobs, loads: Sequence[float], policies: Sequence[str], seeds: int
) -> list[Comparison]:
    """One comparison for each load, with a progress bar on standard error.

    Args:
        machines: the cluster.
        jobs: what arrives there.
        loads: none: as the jobs have it.
        policies: beside the stock cluster's; none: this project's.
        seeds: how many.

    Raises:
        SettingsError: a policy, the trace or a load cannot be used.
    """
    chosen = list(dict.fromkeys([*(policies or _POLICIES), STOCK]))
    check_policies(chosen)
    paces: Sequence[float | None] = loads or [jobs.load]
    scenarios = [Scenario(machines.name, jobs.description, machines.topologies, jobs.source, load) for load in paces]
    for scenario in scenarios:
        scenario.jobs(seed=1)  # what cannot be played is refused before the bar appears
    terminal = Console(stderr=True)
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        bar = progress.add_task("simulating", total=len(scenarios) * len(chosen) * seeds)
        return [compare(scenario, chosen, seeds, lambda: progress.advance(bar)) for scenario in scenarios]


def make_folder(folder: Path) -> None:
    """Make the folder for the results, before minutes are spent on them.

    Raises:
        SettingsError: it cannot be made.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write(comparisons: Sequence[Comparison], folder: Path) -> None:
    """Write `results.json`, `results.csv` and `index.html`, and say so on standard error.

    Raises:
        SettingsError: they cannot be written.
    """
    with _writing(folder):
        files = [*report.write_files(comparisons, folder), write_page(comparisons, folder)]
    sys.stderr.writelines(f"written: {file}\n" for file in files)
    if not can_draw():
        sys.stderr.write(f"gputopo: warning: {NO_PICTURES}\n")


def show(comparisons: Sequence[Comparison], *, as_json: bool) -> None:
    """Print the figures, and last, in a sentence for each policy and load, what it would gain."""
    if as_json:
        print_json([report.document_of(comparison) for comparison in comparisons])
        return
    terminal = console()
    for comparison in comparisons:
        terminal.print(report.table(comparison))
        if note := report.left_out(comparison):
            typer.echo(note)
    for comparison in comparisons:
        for gain in gains(comparison):
            typer.echo(gain.sentence())


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
