"""Several policies on the same jobs, over several seeds, on as many processor cores as there are."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

from simulator.estimate import Estimate, estimate
from simulator.metrics import Moment, bandwidth_shares
from simulator.run import check_policies, run
from simulator.scenario import Scenario

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
        samples: by policy, one for each seed, in order.
    """

    scenario: Scenario
    samples: Mapping[str, Sequence[Sample]]

    def estimates(self, policy: str) -> dict[str, Estimate]:
        """The figures of a policy over the seeds."""
        samples = self.samples[policy]
        return {name: estimate([sample.figures[name] for sample in samples]) for name in samples[0].figures}

    def speed(self, policy: str) -> Estimate:
        """Decisions per second of a policy over the seeds."""
        return estimate([sample.decisions_per_s for sample in self.samples[policy]])

    def document(self) -> dict[str, Any]:
        """The figures as JSON: `{"policies": {name: {figure: estimate}}, "decisions_per_s": {name: estimate}}`.

        An estimate is `{"mean": ..., "ci95": ...}`, the latter half of the interval's width and null for one seed.

        Decisions per second stand apart: all the rest is the same whenever it is run.
        """
        return {
            "workload": self.scenario.name,
            "description": self.scenario.description,
            "load": self.scenario.load,
            "seeds": max(map(len, self.samples.values())),
            "policies": {
                policy: {name: found.document() for name, found in self.estimates(policy).items()}
                for policy in self.samples
            },
            "decisions_per_s": {policy: self.speed(policy).document() for policy in self.samples},
        }


def compare(
    scenario: Scenario, policies: Sequence[str], seeds: int, progress: Callable[[], None] = lambda: None
) -> Comparison:
    """Play a scenario under each policy and seed.

    Args:
        scenario: what to play.
        policies: by name.
        seeds: how many, from 1.
        progress: called after each run.

    Raises:
        SettingsError: the scenario or a policy cannot be used.
    """
    check_policies(policies)
    runs = [(policy, seed) for seed in range(1, seeds + 1) for policy in policies]
    samples: dict[tuple[str, int], Sample] = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        for done in as_completed(processes.submit(_play, scenario, policy, seed) for policy, seed in runs):
            sample = done.result()
            samples[sample.policy, sample.seed] = sample
            progress()
    return Comparison(
        scenario,
        {policy: [samples[policy, seed] for chosen, seed in runs if chosen == policy] for policy in policies},
    )


def _play(scenario: Scenario, policy: str, seed: int) -> Sample:
    played = run(scenario.machines, scenario.jobs(seed), policy, seed)
    moments = played.timeline.moments
    return Sample(
        policy,
        seed,
        played.figures.document(),
        played.decisions_per_s,
        bandwidth_shares(played.outcomes, played.model),
        moments[:: len(moments) // _MOMENTS_KEPT + 1],
    )
