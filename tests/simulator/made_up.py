"""Comparisons that nobody has played."""

from collections.abc import Sequence

from simulator.comparison import Comparison, Sample
from simulator.metrics import Moment
from tests.simulator.clusters import scenario

TIMES = ("completion_mean_s", "completion_p95_s", "waiting_mean_s", "waiting_p95_s", "slowdown_mean")
SHARES = ("bandwidth_share_mean", "bandwidth_share_p5", "best_class_share", "allocation_ratio", "fragmentation")


def comparison(
    load: float | None, *, shares: Sequence[float] = (0.5, 1.0), left_out: int = 0, **completion_s: Sequence[float]
) -> Comparison:
    """Policies with these mean completion times, one for each seed, which get bandwidth in the same order.

    Args:
        load: of the scenario.
        shares: of the ideal bandwidth, of the pods with several GPUs.
        left_out: jobs that never started.
        completion_s: policy, with an underscore for the hyphen, to its times.
    """
    samples = {
        policy.replace("_", "-"): [
            Sample(
                policy,
                seed,
                dict.fromkeys(TIMES, seconds)
                | dict.fromkeys(SHARES, seconds / 36_000)
                | {"jobs": 40 - left_out, "jobs_left_out": left_out},
                100.0,
                list(shares),
                [Moment(0, 0.5, 0.1, 0), Moment(86_400, 0.0, 0.0, 2)],
            )
            for seed, seconds in enumerate(times, start=1)
        ]
        for policy, times in completion_s.items()
    }
    return Comparison(scenario(load=load, name="made-up"), samples)
