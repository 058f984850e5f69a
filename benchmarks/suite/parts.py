"""The parts of `make bench`, in order: what each runs here, what the whole of it is, and its targets.

Where the whole does not fit into some minutes on two cores, a part runs in a shortened form and names the command of
the whole. Targets of shortened forms are those of the whole, but where it would be meaningless they have none.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks import chaos, enforcement, latency, memory, placement, publishing, throughput
from benchmarks.experiments import amaral, mapa, openb, optimum
from benchmarks.experiments.mapa_policies import OURS as OURS_ON_ONE_MACHINE
from benchmarks.suite.target import Target, at_least, at_most
from benchmarks.workload import Workload, read_workload, shipped_workloads
from gpu_topology.errors import SettingsError
from simulator.comparison import Comparison, compare
from simulator.gain import STOCK
from simulator.policies import OURS, POLICIES

OPTIMUM_SHARE: Final = 0.98
MEMORY_MB: Final = 600.0
MOST_OVER_GO_ECHO: Final = 1.5
LEAST_OVER_NONE: Final = 0.9
LEAST_BINDING_OVER_NONE: Final = 0.75
"""What is wanted of the service: bandwidth over the offline optimum's, memory at 5,000 nodes, and pods bound a second
over those with a Go extender without policy, and without any extender."""

_MIB_IN_MB: Final = 2**20 / 1e6
_OURS: Final = "extender-best"
_MADE_UP: Final = ("mixed-itp", "mixed-philly", "dgx-1v")
_TRACED: Final = ("itp_c07-70", "itp_c07-90", "philly_10k-70", "philly_10k-90")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the suite.

    Attributes:
        summary: what is measured.
        here: how the form that runs here is shortened; empty where it is the whole.
        whole: the commands of the whole, after `python -m benchmarks`.
        seconds: how long it took on two cores, to the next ten; the first run builds what it needs besides.
        measure: runs it.
    """

    summary: str
    here: str
    whole: tuple[str, ...]
    seconds: int
    measure: Callable[[], Iterable[Target]]

    @property
    def commands(self) -> list[str]:
        """The commands of the whole."""
        return [f"python -m benchmarks {arguments}" for arguments in self.whole]


def _placement() -> Iterator[Target]:
    figures = placement.measure()
    for gpus in ("8", "16"):
        yield Target(f"{gpus} GPUs: a new question, p50 us", figures[gpus]["cold_p50_us"])
    yield Target("gputopo place --batch, lines/s", figures["batch"]["one_machine_lines_per_s"])


def _latency() -> Iterator[Target]:
    for size, row in latency.measure((100, 1000), 200).items():
        for verb in ("filter", "prioritize"):
            yield Target(f"{size} nodes: {verb} p99 ms", row[f"{verb}_p99_ms"])
            ratio = row[f"{verb}_p50_ms"] / row[f"go_{verb}_p50_ms"]
            yield Target(f"{size} nodes: {verb} p50, ours / Go echo", ratio)


def _mapa() -> Iterator[Target]:
    figures = mapa.measure()
    for machine, replayed in mapa.REPLAYED.items():
        measured = round(figures[machine][OURS_ON_ONE_MACHINE]["with_waiting"], 1)
        yield at_least(f"{machine}: EffBW with the waiting rule, GB/s", measured, replayed["preserve"])


def _amaral() -> Iterator[Target]:
    yield at_most("mean slowdown of two-GPU jobs", amaral.measure()[_OURS]["mean_slowdown"], amaral.TARGET)


def _optimum() -> Iterator[Target]:
    figures = optimum.measure()[_OURS]
    for machines in optimum.CLUSTERS:
        name = " + ".join(machines)
        yield at_least(f"{name}: share of the optimum", figures[name], OPTIMUM_SHARE)


def _openb() -> Iterator[Target]:
    for trace, policies in openb.measure(seeds=1).items():
        fewest = min(policies[rival].mean for rival in ("best-fit", "packing", "fgd"))
        for policy in (_OURS, "extender-packing"):
            yield at_most(f"{trace}: idle GPUs, {policy}", policies[policy].mean, fewest)


def _thresholds() -> Iterator[Target]:
    for name in _MADE_UP:
        workload = _workload(name)
        comparison = compare(workload.scenario(name), [*workload.thresholds, STOCK], workload.seeds)
        for policy, expected in workload.thresholds.items():
            for figure, bounds in expected.items():
                title, mean = f"{name}: {policy}: {figure}", comparison.estimates(policy)[figure].mean
                if bounds.at_least is not None:
                    yield at_least(title, mean, bounds.at_least)
                if bounds.at_most is not None:
                    yield at_most(title, mean, bounds.at_most)


def _queueing() -> Iterator[Target]:
    for name in _TRACED:
        comparison = compare(_workload(name).scenario(name), list(POLICIES), 1)
        yield _against_best(comparison, "completion_mean_s", "mean completion")
        yield _against_best(comparison, "waiting_p95_s", "95 % waiting")


def _against_best(comparison: Comparison, figure: str, title: str) -> Target:
    hours = {policy: comparison.estimates(policy)[figure].mean / 3600 for policy in comparison.samples}
    best = min((policy for policy in hours if policy not in OURS), key=hours.__getitem__)
    return at_most(f"{comparison.scenario.name}: {title} h, against {best}", hours[_OURS], hours[best])


def _memory() -> Iterator[Target]:
    figures = memory.measure()
    yield at_most("the most that the extender holds, MB", figures["peak_mib"] * _MIB_IN_MB, MEMORY_MB)


def _enforcement() -> Iterator[Target]:
    _need_root()
    for machine, row in enforcement.measure(40).items():
        for figure in ("as_recorded", "worth_as_scored"):
            yield at_least(f"{machine}: pods {figure.replace('_', ' ')}", row[figure], row["pods"])
        yield at_most(f"{machine}: pods outside the prediction", row["outside_prediction"], 0)


def _publishing() -> Iterator[Target]:
    _need_root()
    for what, row in publishing.measure(20).items():
        yield Target(f"{what}, median ms", row["median"])


def _throughput() -> Iterator[Target]:
    [row] = throughput.measure((1000,), throughput.PODS, 1).values()
    yield at_least("1,000 nodes: ours / Go echo", row["ratio_to_go_echo"], MOST_OVER_GO_ECHO)
    yield at_least("1,000 nodes: ours / none", row["ratio_to_none"], LEAST_OVER_NONE)
    yield at_least("1,000 nodes: binding / none", row["bind_ratio_to_none"], LEAST_BINDING_OVER_NONE)


def _chaos() -> Iterator[Target]:
    figures = chaos.measure(100, 10, 8).figures
    for name in ("promised_twice", "stuck", "books_differ"):
        yield at_most(name.replace("_", " "), figures[name], 0)


PARTS: Final = {
    "placement": Part("time of placement's answers", "", ("placement",), 10, _placement),
    "latency": Part("filter and prioritize over HTTP", "two sizes", ("latency",), 30, _latency),
    "mapa": Part("bandwidth on one machine (SC'21)", "", ("run mapa",), 10, _mapa),
    "amaral": Part("slowdown of two-GPU jobs (SC'17)", "", ("run amaral",), 30, _amaral),
    "optimum": Part("distance from the optimum", "", ("run optimum",), 10, _optimum),
    "openb": Part("idle GPUs at 130 % demand (ATC'23)", "one seed", ("run openb",), 80, _openb),
    "thresholds": Part("workloads made up at random", "", tuple(f"run {name}" for name in _MADE_UP), 40, _thresholds),
    "queueing": Part(
        "traces on 64 nodes, all policies",
        "one seed",
        tuple(f"run {name}" for name in _TRACED),
        150,
        _queueing,
    ),
    "memory": Part("memory at 5,000 nodes", "", ("memory",), 130, _memory),
    "enforcement": Part("what a kubelet gives", "40 pods", ("enforcement",), 80, _enforcement),
    "publishing": Part("how soon an agent publishes", "20 pods", ("publishing",), 60, _publishing),
    "throughput": Part("pods bound a second", "1,000 nodes, one round", ("throughput",), 180, _throughput),
    "chaos": Part("books while all is killed", "100 pods, 8 kills", ("chaos", "chaos --bind"), 50, _chaos),
}


def _workload(name: str) -> Workload:
    return read_workload(shipped_workloads()[name])


def _need_root() -> None:
    if os.geteuid() != 0:
        raise SettingsError("a real kubelet needs root")
