"""Jobs made up at random, whose sizes and durations are distributed as in published traces.

Durations are log-normal for each size, with the median and the 90th percentile of the jobs of that size in the trace,
and no longer than its longest job. Arrivals are a Poisson process. How much a job communicates is drawn from what was
measured (`speed.MEASURED_RATIOS`), since no trace says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from random import Random
from statistics import NormalDist
from types import MappingProxyType
from typing import Final, NamedTuple

from simulator.jobs import Job, find_obstacle, split
from simulator.speed import MEASURED_RATIOS

_HIGH: Final = NormalDist().inv_cdf(0.9)


class Size(NamedTuple):
    """The jobs of one size in a trace.

    Attributes:
        weight: how many there are.
        median_s: of their durations.
        high_s: the 90th percentile of their durations.
    """

    weight: int
    median_s: float
    high_s: float


@dataclass(frozen=True, slots=True)
class Distribution:
    """What jobs of a trace look like.

    Attributes:
        sizes: GPUs to the jobs that ask for so many.
        longest_s: the longest job.
    """

    sizes: Mapping[int, Size]
    longest_s: float


DISTRIBUTIONS: Final = MappingProxyType(
    {
        # 12,699 jobs over 60 days in cluster c07 of the ITP trace.
        "itp": Distribution(
            {
                1: Size(9854, 7376, 23262),
                2: Size(836, 3698, 4236),
                4: Size(1071, 8774, 151205),
                8: Size(936, 88858, 282776),
            },
            1_102_827,
        ),
        # 10,000 jobs over 13 days in Microsoft's Philly (Jeon et al., USENIX ATC'19).
        "philly": Distribution(
            {
                1: Size(8806, 389, 10364),
                2: Size(296, 18, 168),
                4: Size(507, 14278, 176471),
                8: Size(356, 2277, 258953),
                16: Size(29, 29737, 254372),
                32: Size(6, 71469, 121661),
            },
            1_443_363,
        ),
    }
)


def generate(distribution: Distribution, count: int, node_sizes: Sequence[int], seed: int) -> list[Job]:
    """Jobs in the order of arrival, one a second in the mean: `jobs.with_load` sets the pace.

    Args:
        distribution: of sizes and durations.
        count: how many.
        node_sizes: the GPUs of each node. Larger jobs have several pods; what all nodes together cannot hold is not
            drawn.
        seed: of all that is drawn.
    """
    chooser = Random(f"jobs/{seed}")
    largest_pod = max(node_sizes)
    sizes = [size for size in distribution.sizes if find_obstacle(split(size, largest_pod), node_sizes) is None]
    weights = [distribution.sizes[size].weight for size in sizes]
    now, jobs = 0.0, []
    for number, gpus in enumerate(chooser.choices(sizes, weights, k=count)):
        now += chooser.expovariate(1.0)
        duration = min(_duration(distribution.sizes[gpus], chooser), distribution.longest_s)
        jobs.append(Job(f"job-{number}", now, duration, split(gpus, largest_pod)))
    return list(with_communication(jobs, seed))


def with_communication(jobs: Sequence[Job], seed: int) -> Iterable[Job]:
    """The same jobs, each communicating as much as one of those that were measured.

    Args:
        jobs: in any order.
        seed: of the draws.
    """
    chooser = Random(f"communication/{seed}")
    return (replace(job, communication=chooser.choice(MEASURED_RATIOS)) for job in jobs)


def _duration(size: Size, chooser: Random) -> float:
    spread = log(size.high_s / size.median_s) / _HIGH
    return size.median_s * exp(chooser.gauss(0.0, spread))
