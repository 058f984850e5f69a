"""`gputopo simulate`: what a cluster would gain, by playing jobs on its machines."""

from pathlib import Path
from typing import Annotated, Final

import typer

from gputopo.options import Json

_MOST_LOAD: Final = 10.0


def simulate(  # noqa: PLR0913 - one parameter for each option
    *,
    nodes: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="YAML that lists the machines.")
    ] = None,
    cluster: Annotated[bool, typer.Option("--cluster", help="Take the machines of the running cluster.")] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, show_default=False, help="How to reach the running cluster."
        ),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="CSV: arrival_s,duration_s,gpus[,group].")
    ] = None,
    jobs: Annotated[
        str | None, typer.Option(metavar="itp|philly", show_default=False, help="Make up jobs as in a public trace.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many jobs are made up.")] = 3000,
    loads: Annotated[
        str | None,
        typer.Option(
            metavar="0.7,0.9",
            show_default=False,
            help="GPU time asked for, over what there is. As a trace has it, or 0.9 for jobs that are made up.",
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="May be repeated; extender-best and extender, if left out. The stock cluster is always there.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often all is played, with other draws.")] = 5,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", show_default=False, help="For results.json, results.csv and index.html."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Play jobs on your machines: what would this scheduler gain over a stock cluster?"""
    _exactly_one("--nodes", nodes is not None, "--cluster", cluster)
    _exactly_one("--trace", trace is not None, "--jobs", jobs is not None)
    if kubeconfig is not None and not cluster:
        raise typer.BadParameter("is only for --cluster", param_hint="'--kubeconfig'")
    paces = _loads(loads)

    # Here, because the extender and the Kubernetes client take half a second to load, which other commands do without.
    from gputopo import simulation  # noqa: PLC0415

    source = simulation.made_up(str(jobs), count) if trace is None else simulation.traced(trace)
    machines = simulation.running(kubeconfig) if nodes is None else simulation.listed(nodes)
    if output is not None:
        simulation.make_folder(output)
    comparisons = simulation.play(machines, source, paces, policy or (), seeds)
    if output is not None:
        simulation.write(comparisons, output)
    simulation.show(comparisons, as_json=as_json)


def _exactly_one(first: str, has_first: bool, second: str, has_second: bool) -> None:  # noqa: FBT001 - two pairs
    if has_first == has_second:
        raise typer.BadParameter(f"give either {first} or {second}", param_hint=f"'{first}'")


def _loads(text: str | None) -> list[float]:
    """The loads in ascending order; empty where none was given."""
    try:
        loads = {float(word) for word in text.split(",")} if text is not None else set()
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a list of loads such as 0.7,0.9", param_hint="'--loads'") from error
    if not all(0 < load <= _MOST_LOAD for load in loads):
        raise typer.BadParameter(f"a load is above 0 and at most {_MOST_LOAD:g}", param_hint="'--loads'")
    return sorted(loads)
