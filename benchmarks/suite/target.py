"""A measured figure beside what is wanted of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

_SAME: Final = 1e-9


class Wanted(StrEnum):
    """On which side of the target a figure should be."""

    AT_LEAST = "at least"
    AT_MOST = "at most"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its target.

    Attributes:
        figure: what was measured, with its unit.
        measured: its value.
        wanted: the target; None where there is none, and the figure is shown alone.
        side: on which side of the target it should be.
    """

    figure: str
    measured: float
    wanted: float | None = None
    side: Wanted = Wanted.AT_LEAST

    @property
    def ratio(self) -> float | None:
        """The figure over its target; None where there is no target, or it is 0."""
        return self.measured / self.wanted if self.wanted else None

    @property
    def reached(self) -> bool | None:
        """Whether the figure is on the right side of its target; None where there is none."""
        if self.wanted is None:
            return None
        if self.side is Wanted.AT_LEAST:
            return self.measured >= self.wanted - _SAME
        return self.measured <= self.wanted + _SAME

    @property
    def verdict(self) -> str:
        """Whether the target is reached, or by how much it is missed; empty where there is none."""
        if self.reached is None:
            return ""
        if self.reached:
            return "reached"
        gap = f"{abs(self.ratio - 1):.1%}" if self.ratio is not None else f"{self.measured:g}"
        return f"missed by {gap}"

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "figure": self.figure,
            "measured": round(self.measured, 6),
            "wanted": self.wanted,
            "side": None if self.wanted is None else self.side.value,
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "reached": self.reached,
        }


def at_least(figure: str, measured: float, wanted: float) -> Target:
    """A target from below."""
    return Target(figure, measured, wanted, Wanted.AT_LEAST)


def at_most(figure: str, measured: float, wanted: float) -> Target:
    """A target from above."""
    return Target(figure, measured, wanted, Wanted.AT_MOST)


def summary(targets: Iterable[Target]) -> str:
    """How many are reached, in a few words."""
    judged = [target.reached for target in targets if target.reached is not None]
    return f"{sum(judged)} of {len(judged)} targets reached" if judged else "no target"
