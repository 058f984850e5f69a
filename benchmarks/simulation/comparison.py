"""Several policies on the same jobs, over several seeds, on as many processor cores as there are."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from benchmarks.simulation.estimate import Estimate, estimate
from benchmarks.simulation.metrics import Moment, bandwidth_shares
from benchmarks.simulation.run import run
from benchmarks.simulation.workload import Workload

_MOMENTS_KEPT: Final = 400
"""Of each run, for a picture."""


class Sample(NamedTuple):
    """One policy with one seed.

    Attributes:
        figures: of the run, `metrics.Figures` as JSON.
        decisions_per_s: pods bound for each second that the program took.
        shares: of the ideal bandwidth, of each pod with several GPUs.
        moments: some of the run's, evenly spaced.
    """

    policy: str
    seed: int
    figures: dict[str, float]
    decisions_per_s: float
    shares: list[float]
    moments: list[Moment]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What several policies made of the same jobs.

    Attributes:
        name: of the workload.
        samples: by policy, one for each seed, in order.
    """

    name: str
    workload: Workload
    samples: Mapping[str, Sequence[Sample]]

    def estimates(self, policy: str) -> dict[str, Estimate]:
        """The figures of a policy over the seeds."""
        samples = self.samples[policy]
        return {name: estimate([sample.figures[name] for sample in samples]) for name in samples[0].figures}

    def document(self) -> dict[str, Any]:
        """The figures as JSON: `{"policies": {name: {figure: {"mean", "ci95"}}}, "decisions_per_s": {name: ...}}`.

        Decisions per second stand apart: all the rest is the same whenever it is run.
        """
        return {
            "workload": self.name,
            "description": self.workload.description,
            "seeds": max(map(len, self.samples.values())),
            "policies": {
                policy: {name: found.document() for name, found in self.estimates(policy).items()}
                for policy in self.samples
            },
            "decisions_per_s": {
                policy: round(estimate([sample.decisions_per_s for sample in samples]).mean)
                for policy, samples in self.samples.items()
            },
        }

    def broken_thresholds(self) -> list[str]:
        """Each threshold of the workload that a policy that was run does not keep, as a sentence."""
        return [
            f"{self.name}: {policy}: {figure} is {value:.4g}, which should be {_bounds_text(bounds.model_dump())}"
            for policy, expected in self.workload.thresholds.items()
            if policy in self.samples
            for figure, bounds in expected.items()
            if not bounds.admit(value := self.estimates(policy)[figure].mean)
        ]


def compare(
    name: str,
    workload: Workload,
    policies: Sequence[str],
    *,
    seeds: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Comparison:
    """Play a workload under each policy and seed.

    Args:
        name: of the workload.
        workload: what to play.
        policies: by name.
        seeds: how many; None is as many as the workload says.
        progress: called after each run.

    Raises:
        SettingsError: the workload or a policy cannot be used.
        DumpError: a dump of the workload cannot be read.
    """
    runs = [(policy, seed) for seed in range(1, (seeds or workload.seeds) + 1) for policy in policies]
    samples: dict[tuple[str, int], Sample] = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        for done in as_completed(processes.submit(_play, workload, policy, seed) for policy, seed in runs):
            sample = done.result()
            samples[sample.policy, sample.seed] = sample
            progress()
    return Comparison(
        name,
        workload,
        {policy: [samples[policy, seed] for chosen, seed in runs if chosen == policy] for policy in policies},
    )


def _play(workload: Workload, policy: str, seed: int) -> Sample:
    machines = workload.machines()
    played = run(machines, workload.job_list(machines, seed), policy, seed)
    moments = played.timeline.moments
    return Sample(
        policy,
        seed,
        played.figures.document(),
        played.decisions_per_s,
        bandwidth_shares(played.outcomes, played.model),
        moments[:: len(moments) // _MOMENTS_KEPT + 1],
    )


def _bounds_text(bounds: Mapping[str, float | None]) -> str:
    return " and ".join(f"{name.replace('_', ' ')} {bound:g}" for name, bound in bounds.items() if bound is not None)
