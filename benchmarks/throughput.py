"""How many pods a second kube-scheduler binds: without an extender, with a Go extender without any policy, with ours.

Everything is real: etcd, kube-apiserver, kube-scheduler, and the extender's process as shipped. All pods wait before
the scheduler starts. The variants take turns, so that noise hits them alike; figures are medians over the rounds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from rich.table import Table

from benchmarks.throughput_quality import mean_bandwidth
from benchmarks.throughput_testbed import Run, Testbed, Variant, pod_sizes

SIZES: Final = (1000, 5000)
"""Nodes."""
PODS: Final = 2000
ROUNDS: Final = 3
CANDIDATES: Final = (1, 20, 100, 0)
"""N, for the quality of what is placed; 0: all."""

Figures: TypeAlias = dict[str, dict[str, Any]]
Report: TypeAlias = Callable[[str], None]


def measure(
    sizes: Sequence[int] = SIZES,
    pods: int = PODS,
    rounds: int = ROUNDS,
    report: Report = lambda _line: None,
    candidates: int | None = None,
) -> Figures:
    """Pods bound a second, by number of nodes and variant, and what belongs to it.

    `{"1000": {"none": ..., "go_echo": ..., "ours": ..., "ours_with_bind": ..., "ratio_to_go_echo": ...,
    "ratio_to_none": ..., "bind_ratio_to_none": ..., "quality": {"20": ..., "100": ..., "all": ...},
    "shares": ..., "cpu_ms": ..., "rounds": ...}}`. `quality` is the mean GB/s of the sets of pods with several GPUs if
    filter passes on so many nodes. `shares`, `cpu_ms` and `rounds` are by variant: see `throughput_testbed.Run`, and
    the pods a second of every round.

    Args:
        sizes: numbers of nodes.
        pods: how many wait.
        rounds: how often each variant is run.
        report: is told of every run.
        candidates: how many nodes our filter passes on at most; None: as shipped.

    Raises:
        UnboundPodsError: a variant did not bind all pods.
        GoError: a program has to be built and cannot be.
        ProcessError: a program does not start.
    """
    return {str(nodes): _measure_one(nodes, pods, rounds, report, candidates) for nodes in sizes}


def _measure_one(nodes: int, pods: int, rounds: int, report: Report, candidates: int | None) -> dict[str, Any]:
    compared = list(Variant)
    runs: dict[Variant, list[Run]] = {variant: [] for variant in compared}
    with TemporaryDirectory() as folder, Testbed(Path(folder) / "control-plane", nodes, pods, candidates) as testbed:
        for turn in range(rounds):
            first = turn % len(compared)
            for variant in compared[first:] + compared[:first]:
                runs[variant].append(run := testbed.run(variant))
                report(f"{nodes} nodes, round {turn + 1}, {variant}: {run.pods_per_second:.1f} pods/s")
    rates = {variant: median(run.pods_per_second for run in found) for variant, found in runs.items()}
    return {
        **{variant.value: round(rate, 1) for variant, rate in rates.items()},
        "ratio_to_go_echo": _ratio(rates, Variant.OURS, Variant.GO_ECHO),
        "ratio_to_none": _ratio(rates, Variant.OURS, Variant.NONE),
        "bind_ratio_to_none": _ratio(rates, Variant.OURS_WITH_BIND, Variant.NONE),
        "quality": {
            str(limit or "all"): round(mean_bandwidth(nodes, pod_sizes(pods), limit), 2) for limit in CANDIDATES
        },
        "shares": {variant.value: _medians([run.shares for run in found], 3) for variant, found in runs.items()},
        "cpu_ms": {variant.value: _medians([run.cpu_ms for run in found], 2) for variant, found in runs.items()},
        "rounds": {variant.value: [round(run.pods_per_second, 1) for run in found] for variant, found in runs.items()},
    }


def _ratio(rates: Mapping[Variant, float], one: Variant, other: Variant) -> float:
    return round(rates[one] / rates[other], 2)


def _medians(found: Sequence[Mapping[str, float]], digits: int) -> dict[str, float]:
    return {name: round(median(each[name] for each in found), digits) for name in found[0]}


def tables(figures: Figures) -> list[Table]:
    """The figures for a person."""
    return [_rates(figures), _quality(figures), *(_time(nodes, row) for nodes, row in figures.items())]


def _rates(figures: Figures) -> Table:
    """Medians, and from which round to which they lie: ratios that the spread exceeds say little."""
    titles = ("without", "Go echo", "ours", "ours, binding", "ours / Go echo", "ours / without", "binding / without")
    result = Table("nodes", *titles, title="Pods bound a second: median, and lowest to highest round")
    ratios = ("ratio_to_go_echo", "ratio_to_none", "bind_ratio_to_none")
    for nodes, row in figures.items():
        rates = [_spread(row[variant.value], row["rounds"][variant.value]) for variant in Variant]
        result.add_row(nodes, *rates, *(f"{row[key]:g}" for key in ratios))
    return result


def _spread(middle: float, rounds: Sequence[float]) -> str:
    return f"{middle:g}\n({min(rounds):g} to {max(rounds):g})"


def _quality(figures: Figures) -> Table:
    limits = [str(limit or "all") for limit in CANDIDATES]
    result = Table("nodes", *(f"N = {limit}" for limit in limits), title="Mean GB/s of the sets, by simulation")
    for nodes, row in figures.items():
        result.add_row(nodes, *(f"{row['quality'][limit]:g}" for limit in limits))
    return result


def _time(nodes: str, row: Mapping[str, Any]) -> Table:
    """A line a part of the work, a column a variant: share of the wall time, or CPU time a pod."""
    found = list(row["shares"])
    result = Table("", *found, title=f"Where the time goes, {nodes} nodes: % of the wall time; CPU ms a pod")
    for part, title in PARTS.items():
        shares = [row["shares"][variant].get(part) for variant in found]
        result.add_row(title, *("" if share is None else f"{share:.1%}" for share in shares))
    result.add_section()
    for process in row["cpu_ms"][found[-1]]:
        times = [row["cpu_ms"][variant].get(process) for variant in found]
        result.add_row(process, *("" if time is None else f"{time:.2f} ms" for time in times))
    result.add_row("all together", *(f"{sum(row['cpu_ms'][variant].values()):.2f} ms" for variant in found))
    return result


PARTS: Final = {
    "own_filter": "kube-scheduler's own filters",
    "own_score": "kube-scheduler's own scores",
    "extender_calls": "rest of the decision: extender's calls",
    "extender_filter": "  of it filter, in our extender",
    "extender_prioritize": "  of it prioritize, in our extender",
    "own_bind": "kube-scheduler's bindings (may overlap)",
    "extender_bind": "bind, in our extender (may overlap)",
}
"""The keys of `shares`, for a person."""
