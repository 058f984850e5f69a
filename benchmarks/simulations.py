"""The commands of the simulator: `list`, `run` and `compare`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.suite.parts import PARTS, Part
from benchmarks.workload import Workload, read_workload, shipped_workloads
from gpu_topology.errors import SettingsError
from simulator import report
from simulator.comparison import Comparison
from simulator.comparison import compare as compare_policies
from simulator.page import write_page
from simulator.policies import POLICIES

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object on the last line.")]
Seeds: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, show_default=False, help="How many seeds; as many as the workload says, if left out."),
]


def list_experiments() -> None:
    """What can be run: the parts of `bench`, experiments, workloads; and the policies."""
    workloads = {name: read_workload(file).description for name, file in shipped_workloads().items()}
    console = Console()
    console.print(_listing("part of bench", {name: _part(found) for name, found in PARTS.items()}))
    console.print(_listing("experiment", {name: found.summary for name, found in EXPERIMENTS.items()}))
    console.print(_listing("workload", workloads))
    console.print(_listing("policy", {name: found.summary for name, found in POLICIES.items()}))


def run(
    name: Annotated[str, typer.Argument(help="An experiment, a workload, or the path of a workload's YAML file.")],
    *,
    policy: Annotated[list[str] | None, typer.Option(help="Of a workload; may be repeated. All, if left out.")] = None,
    seeds: Seeds = None,
    output: Annotated[Path | None, typer.Option(help="Folder for results.json, results.csv and index.html.")] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment or a workload; fails where a workload's thresholds are not kept."""
    console = Console(stderr=as_json)
    if name in EXPERIMENTS:
        result = EXPERIMENTS[name].measure()
        console.print(result.table)
        _finish(result.document, as_json=as_json)
        return
    workload = _workload(name)
    comparison = _play(console, name, workload, policy or list(POLICIES), seeds)
    console.print(report.table(comparison))
    if output is not None:
        for file in [*report.write_files([comparison], output), write_page([comparison], output)]:
            console.print(f"written: {file}")
    _finish(comparison.document(), as_json=as_json)
    if broken := workload.broken_thresholds(comparison):
        raise SettingsError("; ".join(broken))


def compare(
    first: Annotated[str, typer.Argument(help="A policy.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    *,
    workload: Annotated[str, typer.Option(help="On which both are run, with the same jobs.")] = "mixed-itp",
    seeds: Seeds = None,
    as_json: Json = False,
) -> None:
    """Compare two policies on the same jobs, seed by seed."""
    console = Console(stderr=as_json)
    comparison = _play(console, workload, _workload(workload), [first, second], seeds)
    console.print(report.difference_table(comparison, first, second))
    _finish(comparison.document(), as_json=as_json)


def _play(console: Console, name: str, workload: Workload, policies: Sequence[str], seeds: int | None) -> Comparison:
    count = seeds or workload.seeds
    with Progress(console=console) as progress:
        bar = progress.add_task(name, total=len(policies) * count)
        return compare_policies(workload.scenario(name), policies, count, lambda: progress.advance(bar))


def _workload(name: str) -> Workload:
    shipped = shipped_workloads()
    if name in shipped:
        return read_workload(shipped[name])
    if name.endswith((".yaml", ".yml")):
        return read_workload(Path(name))
    raise SettingsError(
        f"there is no {name!r}: there are {', '.join([*EXPERIMENTS, *shipped])}, and paths of YAML files"
    )


def _part(part: Part) -> str:
    form = f"shortened: {part.here}; the whole" if part.here else "also"
    return f"{part.summary}, some {part.seconds} s; {form}: {', '.join(part.whole)}"


def _listing(kind: str, entries: dict[str, str]) -> Table:
    result = Table(kind, "what it is", title_justify="left")
    for name, summary in entries.items():
        result.add_row(name, summary)
    return result


def _finish(figures: object, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(figures))
