"""What a run comes to, under the names that operators know."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Final

import numpy as np

from gpu_topology.placement import DEFAULT_DEMAND, Demand, fragmentation
from gpu_topology.request import GpuRequest
from simulator.cluster import Cluster, Held
from simulator.engine import Outcome
from simulator.runtime import SpeedModel, bandwidth_when_empty

HIGH_PERCENTILE: Final = 95
LOW_PERCENTILE: Final = 5
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one run.

    Attributes:
        jobs: that have run.
        jobs_left_out: that never found room together, not even on the empty cluster.
        allocation_ratio: the share of the GPUs that pods held, from the first arrival to the last, 0 to 1.
        fragmentation: the share of the free GPUs that the average request could not use, in the same time, 0 to 1.
        waiting_mean_s: from a job's arrival to its start.
        waiting_p95_s: the same, of which 95 % of the jobs stay below.
        completion_mean_s: from a job's arrival to its end.
        completion_p95_s: the same, of which 95 % of the jobs stay below.
        slowdown_mean: runtime over the runtime with the best sets that the cluster has, of jobs with several GPUs.
        bandwidth_share_mean: bandwidth of a pod's set over the best in the cluster for its size; pods with several
            GPUs.
        bandwidth_share_p5: the same, above which 95 % of the pods stay.
        best_class_share: the share of pods with several GPUs whose set has the best bandwidth that the node they are
            on could give a pod of its size when empty.
        makespan_s: from the first arrival to the last end.
    """

    jobs: int
    jobs_left_out: int
    allocation_ratio: float
    fragmentation: float
    waiting_mean_s: float
    waiting_p95_s: float
    completion_mean_s: float
    completion_p95_s: float
    slowdown_mean: float
    bandwidth_share_mean: float
    bandwidth_share_p5: float
    best_class_share: float
    makespan_s: float

    def document(self) -> dict[str, float]:
        """The same as JSON, rounded to six digits after the point."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Moment:
    """The cluster after everything that happened at one time.

    Attributes:
        allocated: share of the GPUs that pods hold.
        fragmented: share of the free GPUs that the average request cannot use; 0 where none is free.
        waiting: jobs in the queue.
    """

    time_s: float
    allocated: float
    fragmented: float
    waiting: int


class Timeline:
    """An observer of a simulation: how full and how fragmented the cluster was.

    Args:
        demand: the request sizes by which fragmentation is judged.
    """

    def __init__(self, demand: Demand = DEFAULT_DEMAND) -> None:
        self.moments: list[Moment] = []
        self._demand = demand

    def __call__(self, now: float, cluster: Cluster, waiting: int) -> None:
        """See `simulator.engine.Observer`."""
        allocated = 1 - cluster.free_gpus / cluster.gpus
        self.moments.append(Moment(now, allocated, fragmentation(cluster.nodes_by_free, self._demand), waiting))

    def means_until(self, end_s: float) -> tuple[float, float]:
        """The means over time of `allocated` and `fragmented`, from the first moment to this one."""
        times = np.array([min(moment.time_s, end_s) for moment in self.moments] + [end_s])
        spans = np.diff(times)
        if not spans.sum():
            return self.moments[-1].allocated, self.moments[-1].fragmented
        allocated, useless = (
            float(np.average(values, weights=spans))
            for values in (
                [moment.allocated for moment in self.moments],
                [moment.fragmented for moment in self.moments],
            )
        )
        return allocated, useless


def figures_of(outcomes: Sequence[Outcome], timeline: Timeline, model: SpeedModel, *, left_out: int) -> Figures:
    """The figures of a run.

    Args:
        outcomes: of at least one job.
        timeline: that has observed the run.
        model: by which the jobs ran.
        left_out: how many further jobs have never started.
    """
    first, last = (choose(outcome.job.arrival_s for outcome in outcomes) for choose in (min, max))
    allocated, useless = timeline.means_until(last)
    waiting = [outcome.started_s - outcome.job.arrival_s for outcome in outcomes]
    completion = [outcome.ended_s - outcome.job.arrival_s for outcome in outcomes]
    linked = [outcome for outcome in outcomes if any(map(_has_links, outcome.job.pods))]
    shares = bandwidth_shares(outcomes, model)
    return Figures(
        jobs=len(outcomes),
        jobs_left_out=left_out,
        allocation_ratio=allocated,
        fragmentation=useless,
        waiting_mean_s=fmean(waiting),
        waiting_p95_s=float(np.percentile(waiting, HIGH_PERCENTILE)),
        completion_mean_s=fmean(completion),
        completion_p95_s=float(np.percentile(completion, HIGH_PERCENTILE)),
        slowdown_mean=_mean([_slowdown(outcome) for outcome in linked]),
        bandwidth_share_mean=_mean(shares),
        bandwidth_share_p5=float(np.percentile(shares, LOW_PERCENTILE)) if shares else 1.0,
        best_class_share=_mean([float(_in_best_class(request, held)) for request, held in _linked_pods(outcomes)]),
        makespan_s=max(outcome.ended_s for outcome in outcomes) - first,
    )


def bandwidth_shares(outcomes: Sequence[Outcome], model: SpeedModel) -> list[float]:
    """Bandwidth of the set over the best in the cluster, 0 to 1, for each pod that has links."""
    return [held.bandwidth_gbps / model.best_bandwidth(request) for request, held in _linked_pods(outcomes)]


def _linked_pods(outcomes: Sequence[Outcome]) -> Iterator[tuple[GpuRequest, Held]]:
    for outcome in outcomes:
        for request, held in zip(outcome.job.pods, outcome.held, strict=True):
            if _has_links(request):
                yield request, held


def _has_links(request: GpuRequest) -> bool:
    return any(container.gpus > 1 for container in request.containers)


def _in_best_class(request: GpuRequest, held: Held) -> bool:
    return held.bandwidth_gbps >= bandwidth_when_empty(held.node.tables, request) - _ROUNDING


def _slowdown(outcome: Outcome) -> float:
    ideal = outcome.job.duration_s
    return (outcome.ended_s - outcome.started_s) / ideal if ideal else 1.0


def _mean(values: Sequence[float]) -> float:
    """The mean; 1 for no values: where no pod has a link, none lacks one."""
    return fmean(values) if values else 1.0
