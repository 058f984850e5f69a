"""`python -m benchmarks`: demonstrations and figures."""

import gc
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvicorn
from rich.console import Console

from benchmarks import chaos as disorder
from benchmarks import demo as demonstration
from benchmarks import demo_cluster as cluster_demonstration
from benchmarks import enforcement as enforced
from benchmarks import latency as latencies
from benchmarks import load as loads
from benchmarks import memory as memories
from benchmarks import placement as placements
from benchmarks import publishing as published
from benchmarks import scrape as scrapes
from benchmarks import simulations as experiments
from benchmarks import throughput as throughputs
from benchmarks.served_extender import LOOPBACK, configuration
from benchmarks.suite import run as suite
from benchmarks.synthetic_cluster import published_nodes
from extender.ledger import Ledger
from extender.logs import configure_logs
from extender.preferences import CandidateLimits
from extender.service import Service
from gpu_topology.errors import GpuTopologyError
from tests.control_plane.processes import ProcessError
from tests.go_toolchain import GoError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Demonstrations and figures."
)

Json = Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object on the last line.")]


@app.command()
def demo(
    *, seed: int = 1, keep: Annotated[bool, typer.Option(help="Serve until Ctrl-C.")] = False, as_json: Json = False
) -> None:
    """Pods on real machine profiles, with the extender and without, in one process."""
    _finish(demonstration.show(_console(as_json=as_json), seed, keep=keep), as_json=as_json)


@app.command("demo-cluster")
def demo_cluster(
    *, keep: Annotated[bool, typer.Option(help="Stay up until Ctrl-C.")] = False, as_json: Json = False
) -> None:
    """The same through a real kube-apiserver and kube-scheduler, built from source on first use."""
    _finish(cluster_demonstration.show(_console(as_json=as_json), keep=keep), as_json=as_json)


@app.command()
def latency(
    *,
    sizes: Annotated[list[int] | None, typer.Option("--nodes", help="Number of nodes; may be repeated.")] = None,
    calls: Annotated[int, typer.Option(min=100, help="Timed calls of each verb.")] = 300,
    as_json: Json = False,
) -> None:
    """p50 and p99 of filter and prioritize over HTTP, beside a Go extender without any policy."""
    figures = latencies.measure(sizes or latencies.SIZES, calls)
    _console(as_json=as_json).print(latencies.table(figures))
    _finish(figures, as_json=as_json)


@app.command()
def load(
    *,
    seconds: Annotated[int, typer.Option(min=1, help="How long.")] = loads.SECONDS,
    nodes: Annotated[int, typer.Option(min=1, help="Number of nodes.")] = loads.NODES,
    pods: Annotated[int, typer.Option(min=0, help="Pods that are bound.")] = loads.PODS,
    gpu_pods: Annotated[int, typer.Option(min=0, help="How many of them have a GPU.")] = loads.GPU_PODS,
    as_json: Json = False,
) -> None:
    """Latency from the due time, errors and memory under fifty requests a second, while the cluster changes."""
    figures = loads.measure(seconds, nodes, pods, gpu_pods)
    _console(as_json=as_json).print(loads.table(figures))
    _finish(figures, as_json=as_json)


@app.command()
def enforcement(
    *, pods: Annotated[int, typer.Option(min=8, help="Pods on each machine.")] = enforced.PODS, as_json: Json = False
) -> None:
    """What pods get on a real kubelet: by NVIDIA's plugin alone, and with the choice enforced."""
    figures = enforced.measure(pods)
    _console(as_json=as_json).print(enforced.table(figures))
    _finish(figures, as_json=as_json)


@app.command()
def publishing(
    *, pods: Annotated[int, typer.Option(min=20, help="Pods that come and go.")] = published.PODS, as_json: Json = False
) -> None:
    """How soon a node's annotations tell of pods that come and go, on a real kubelet."""
    figures = published.measure(pods)
    _console(as_json=as_json).print(published.table(figures))
    _finish(figures, as_json=as_json)


@app.command()
def chaos(  # noqa: PLR0913  options of a command, each with a name and a default
    *,
    pods: Annotated[int, typer.Option(min=1, help="Pods that come and go.")] = disorder.PODS,
    nodes: Annotated[int, typer.Option(min=2, help="Simulated nodes.")] = disorder.NODES,
    kills: Annotated[int, typer.Option(min=0, help="Processes that are killed meanwhile.")] = disorder.KILLS,
    seed: int = disorder.SEED,
    bind: Annotated[bool, typer.Option(help="Let the extender bind, and record the GPUs on the pods.")] = False,
    as_json: Json = False,
) -> None:
    """Whether a GPU is ever promised twice or a pod forgotten while everything is killed again and again."""
    outcome = disorder.measure(pods, nodes, kills, seed, bind=bind)
    _console(as_json=as_json).print(disorder.table(outcome))
    _finish(outcome.figures, as_json=as_json)


@app.command()
def memory(
    *,
    nodes: Annotated[int, typer.Option(min=1, help="Number of nodes.")] = memories.NODES,
    pods: Annotated[int, typer.Option(min=0, help="Pods that are bound.")] = memories.PODS,
    gpu_pods: Annotated[int, typer.Option(min=0, help="How many of them have a GPU.")] = memories.GPU_PODS,
    as_json: Json = False,
) -> None:
    """Memory of an extender that watches a large cluster: with complete books, at most, and after many changes."""
    figures = memories.measure(nodes, pods, gpu_pods)
    _console(as_json=as_json).print(memories.table(figures))
    _finish(figures, as_json=as_json)


@app.command()
def placement(*, as_json: Json = False) -> None:
    """Time and memory of placement's tables and answers, and lines a second of `gputopo place --batch`."""
    figures = placements.measure()
    _console(as_json=as_json).print(placements.table(figures))
    _finish(figures, as_json=as_json)


@app.command()
def scrape(
    *,
    nodes: Annotated[int, typer.Option(min=1, help="Number of nodes.")] = scrapes.NODES,
    as_json: Json = False,
) -> None:
    """How long the extender takes to answer Prometheus, in which it answers nobody else."""
    figures = scrapes.measure(nodes)
    _console(as_json=as_json).print(scrapes.table(figures))
    _finish(figures, as_json=as_json)


@app.command()
def throughput(
    *,
    sizes: Annotated[list[int] | None, typer.Option("--nodes", help="Number of nodes; may be repeated.")] = None,
    pods: Annotated[int, typer.Option(min=10, help="Pods that wait.")] = throughputs.PODS,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each variant.")] = throughputs.ROUNDS,
    candidates: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="N of our filter; as shipped, if left out; 0: all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Pods that a real kube-scheduler binds in a second: without an extender, with one without policy, with ours."""
    console = _console(as_json=as_json)
    figures = throughputs.measure(sizes or throughputs.SIZES, pods, rounds, console.print, candidates)
    console.print(*throughputs.tables(figures))
    _finish(figures, as_json=as_json)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[PART]...", help="All, if left out.")] = None,
    *,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the figures there, as JSON.")] = None,
    as_json: Json = False,
) -> None:
    """All benchmarks and experiments, some shortened, beside their targets: a table, and perhaps a JSON file."""
    console = _console(as_json=as_json)
    results = suite.run(names or (), console.print)
    console.print(suite.table(results), *suite.whole_forms(results), sep="\n")
    document = [result.document() for result in results]
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(f"{json.dumps(document, indent=2)}\n", encoding="utf-8")
        console.print(f"written: {output}")
    _finish(document, as_json=as_json)


app.command("list")(experiments.list_experiments)
app.command()(experiments.run)
app.command()(experiments.compare)


@app.command(hidden=True)
def serve(nodes: int, port: Annotated[int, typer.Option()], max_candidates: int = 20) -> None:
    """Serve an extender that knows a synthetic cluster, for the benchmarks."""
    configure_logs("info", "json")  # a line a decision, as shipped
    ledger = Ledger()
    ledger.replace_nodes(published_nodes(nodes))
    gc.collect()
    gc.freeze()  # as the shipped extender does once its books are complete
    config = configuration(Service(ledger, limits=CandidateLimits(max_candidates)))
    config.host, config.port = LOOPBACK, port
    uvicorn.Server(config).run()


def _console(*, as_json: bool) -> Console:
    """Where tables go: the terminal, or standard error where standard output is for a program."""
    return Console(stderr=as_json)


def _finish(figures: Any, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(figures))


def main() -> None:
    """Run a command; our own log lines would stand between the tables."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        app()
    except (GoError, ProcessError, GpuTopologyError) as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
