"""What a cluster would gain by a policy: the difference from a stock cluster, seed by seed, in one sentence."""

from dataclasses import dataclass
from typing import Any, Final

from simulator.comparison import Comparison
from simulator.estimate import Estimate, estimate
from simulator.policies import OURS

STOCK: Final = "vendor"
"""The policy that is what a cluster does without this project."""

_LONG_S: Final = 3600
"""Times from here on are told in hours."""


@dataclass(frozen=True, slots=True)
class Gain:
    """A policy against the stock cluster, on the same jobs.

    Attributes:
        load: of the scenario.
        sooner: the share of the stock cluster's mean completion time that is saved; negative where it is lost.
        completion_s: mean seconds from a job's arrival to its end.
        stock_completion_s: the same on the stock cluster.
        bandwidth: what the mean share of the ideal bandwidth grows by, 0 to 1; None where no pod has several GPUs.
    """

    policy: str
    load: float | None
    sooner: Estimate
    completion_s: float
    stock_completion_s: float
    bandwidth: Estimate | None

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "policy": self.policy,
            "stock": STOCK,
            "load": self.load,
            "completion_sooner": self.sooner.document(),
            "bandwidth_share_more": None if self.bandwidth is None else self.bandwidth.document(),
            "sentence": self.sentence(),
        }

    def sentence(self) -> str:
        """What is gained, with its confidence; also where that is nothing, or a loss."""
        at = "" if self.load is None else f"at {100 * self.load:g} % load "
        return f"{self.policy}: {at}{self._completion()}, {self._means()}; {self._bandwidth()}."

    def _completion(self) -> str:
        low, high = self.sooner.interval
        if self.sooner.half_width is None:
            return f"jobs complete {_later_or_sooner(self.sooner.mean)}, by a single seed that says nothing of others"
        between = f"between {_later_or_sooner(low)} and {_later_or_sooner(high)} with 95 % confidence"
        if low <= 0 <= high:
            return f"no gain in time is established: jobs complete {between}"
        return f"jobs complete {_later_or_sooner(self.sooner.mean)}, {between}"

    def _means(self) -> str:
        unit, seconds = ("h", 3600) if self.stock_completion_s >= _LONG_S else ("s", 1)
        ours, stock = self.completion_s / seconds, self.stock_completion_s / seconds
        return f"{ours:.2f} {unit} instead of {stock:.2f} {unit} in the mean"

    def _bandwidth(self) -> str:
        if self.bandwidth is None:
            return "no pod has several GPUs, so that links play no part"
        more = f"{100 * self.bandwidth.mean:+.1f}"
        if self.bandwidth.half_width is not None:
            more += f" ± {100 * self.bandwidth.half_width:.1f}"
        return f"pods with several GPUs get {more} percentage points of the ideal bandwidth"


def gains(comparison: Comparison) -> list[Gain]:
    """What each of this project's policies gains; nothing where the comparison lacks the stock cluster."""
    if STOCK not in comparison.samples:
        return []
    return [_gain(comparison, policy) for policy in OURS if policy in comparison.samples]


def _gain(comparison: Comparison, policy: str) -> Gain:
    pairs = list(zip(comparison.samples[policy], comparison.samples[STOCK], strict=True))
    linked = all(ours.shares and stock.shares for ours, stock in pairs)
    shares = [ours.figures["bandwidth_share_mean"] - stock.figures["bandwidth_share_mean"] for ours, stock in pairs]
    return Gain(
        policy,
        comparison.scenario.load,
        estimate([1 - ours.figures["completion_mean_s"] / stock.figures["completion_mean_s"] for ours, stock in pairs]),
        comparison.estimates(policy)["completion_mean_s"].mean,
        comparison.estimates(STOCK)["completion_mean_s"].mean,
        estimate(shares) if linked else None,
    )


def _later_or_sooner(share: float) -> str:
    return f"{100 * abs(share):.1f} % {'sooner' if share >= 0 else 'later'}"
