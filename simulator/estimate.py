"""Means over seeds, and how far they can be trusted."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Final, NamedTuple

_T_95: Final = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
"""Student's t for 95 % of the values on both sides together, by degrees of freedom from 1."""
_T_95_MANY: Final = 2.131
"""For more degrees of freedom; a little too large, which makes the interval a little too wide."""


class Estimate(NamedTuple):
    """A mean over seeds with its 95 % confidence interval.

    Attributes:
        half_width: of the interval; None for a single seed, which says nothing of others.
    """

    mean: float
    half_width: float | None

    @property
    def interval(self) -> tuple[float, float]:
        """Its ends; the mean twice for a single seed."""
        half = self.half_width or 0.0
        return self.mean - half, self.mean + half

    def document(self) -> dict[str, float | None]:
        """The same as JSON."""
        half = None if self.half_width is None else round(self.half_width, 6)
        return {"mean": round(self.mean, 6), "ci95": half}


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value, one for each seed."""
    mean = fmean(values)
    if len(values) == 1:
        return Estimate(mean, None)
    freedom = len(values) - 1
    t = _T_95[freedom - 1] if freedom <= len(_T_95) else _T_95_MANY
    return Estimate(mean, t * stdev(values) / sqrt(len(values)))
