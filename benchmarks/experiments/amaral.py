"""Amaral's experiment: how much slower two-GPU jobs run because their GPUs are in different sockets.

12 IBM Minsky machines and 10 times the published 1,000 jobs, whose execution times in one socket and across sockets
were measured. Amaral et al., "Topology-aware GPU scheduling for learning workloads in cloud environments", SC'17.
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Final, NamedTuple

from rich.table import Table

from benchmarks.experiments.amaral_profiles import (
    MeasuredRuntime,
    Program,
    Times,
    in_one_socket,
    measured_times,
    minsky,
    published_jobs,
)
from gpu_topology.errors import SettingsError
from simulator.allocators import lowest_gpus
from simulator.cluster import AllocatorFactory, Cluster
from simulator.engine import simulate
from simulator.policies import POLICIES
from simulator.speed import ACROSS_GBPS, REFERENCE_GBPS

NODES: Final = 12
REPEATED: Final = 10
TARGET: Final = 1.001
REPLAYED: Final[Mapping[str, float]] = {
    "best-fit, lowest numbers": 1.110,
    "first-fit, lowest numbers": 1.054,
    "socket": 1.001,
}
"""Mean slowdown in a replay of 10,000 jobs: best fit, first come first served, topology-aware."""
_LOWEST: Final = ", lowest numbers"
_PAIR: Final = 2


def measure(seed: int = 1, repeated: int = REPEATED) -> dict[str, dict[str, float]]:
    """Policy to the mean slowdown of two-GPU jobs and the share of them that got one socket.

    Raises:
        SettingsError: the published data are not there.
    """
    names = [*POLICIES, f"best-fit{_LOWEST}", f"first-fit{_LOWEST}"]
    return {name: _measure_policy(name, seed, repeated) for name in names}


def table(figures: Mapping[str, Mapping[str, float]]) -> Table:
    """The figures for a person."""
    result = Table("policy", "mean slowdown", "in one socket", "published", title="Amaral: two-GPU jobs")
    for policy, row in figures.items():
        published = f"{REPLAYED[policy]:.3f}" if policy in REPLAYED else ""
        result.add_row(policy, f"{row['mean_slowdown']:.4f}", f"{100 * row['in_one_socket']:.1f} %", published)
    return result


class Calibration(NamedTuple):
    """How well the speed model fits what was measured across sockets.

    Attributes:
        ratios: r of each program with two GPUs (simulator.speed).
        error: the largest relative error of a predicted time.
        error_left_out: the same, of programs that were left out of the fit.
    """

    ratios: dict[Program, float]
    error: float
    error_left_out: float


def calibrate(times: Mapping[Program, Times]) -> Calibration:
    """Fit the speed model: one amount of communication for each network, by least squares of the relative error.

    Raises:
        SettingsError: the times hold no network with two programs of two GPUs.
    """
    pairs = {program: (found.within_s, found.across_s) for program, found in times.items() if found.across_s}
    ratios: dict[Program, float] = {}
    errors, left_out = [], []
    for program, measured in pairs.items():
        same_net = [pair for other, pair in pairs.items() if other.net == program.net]
        others = [pair for other, pair in pairs.items() if other.net == program.net and other != program]
        communication = _communication(same_net) / REFERENCE_GBPS
        ratios[program] = communication / (measured[0] - communication)
        errors.append(_error(_communication(same_net), measured))
        left_out.append(_error(_communication(others), measured))
    return Calibration(ratios, max(errors), max(left_out))


_PER_GBPS: Final = 1 / ACROSS_GBPS - 1 / REFERENCE_GBPS


def _communication(pairs: list[tuple[float, float]]) -> float:
    """GB/s times seconds that all these programs exchange."""
    if not pairs:
        raise SettingsError("the speed model needs two programs of each network")
    weighted = sum(_PER_GBPS * (across - within) / across**2 for within, across in pairs)
    return weighted / sum((_PER_GBPS / across) ** 2 for _, across in pairs)


def _error(communication: float, measured: tuple[float, float]) -> float:
    within, across = measured
    return abs((within + communication * _PER_GBPS) / across - 1)


def _measure_policy(name: str, seed: int, repeated: int) -> dict[str, float]:
    entry = POLICIES[name.removesuffix(_LOWEST)]
    allocator = lowest_gpus if name.endswith(_LOWEST) else entry.allocator(seed)
    jobs, programs = published_jobs(repeated)
    runtime = MeasuredRuntime(measured_times(), programs)
    outcomes = simulate(_cluster(allocator), jobs, entry.make(seed), runtime)
    pairs = [outcome for outcome in outcomes if outcome.job.gpus == _PAIR]
    return {
        "mean_slowdown": round(fmean(runtime.slowdown(pair.job, pair.ended_s - pair.started_s) for pair in pairs), 5),
        "in_one_socket": round(fmean(in_one_socket(pair.held[0]) for pair in pairs), 5),
    }


def _cluster(allocator: AllocatorFactory) -> Cluster:
    return Cluster.of({f"minsky-{number:02d}": minsky() for number in range(NODES)}, allocator)
