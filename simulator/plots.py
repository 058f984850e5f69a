"""Pictures of comparisons: the cluster over time, bandwidth by policy, waiting time against load.

Each is an SVG element to stand within a page: letters are letters, axes have the colour of the text around them, and
policies have colours that can be told from white and from black. Needs matplotlib, which no other module does.
"""

import re
from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import Any, Final
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulator.comparison import Comparison
from simulator.policies import OURS, POLICIES

_DAY_S: Final = 86_400
_WIDTH_IN: Final = 9
_ROW_IN: Final = 2.6
_SINGLE_IN: Final = 4.2
_BESIDE: Final = 0.3
"""Points of load by which policies stand beside one another, so that no interval hides another."""

_INK: Final = "#010203"
"""Stands for the colour of the text around the picture, which matplotlib cannot know."""
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "the same picture has the same names",
    "font.family": "sans-serif",
    "font.size": 11,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_COLOURS: Final = (
    "#2a7fd4", "#2c9a4b", "#9467d6", "#d06a10", "#d9483b", "#808690", "#a5714a", "#1799a8", "#8f8f1f", "#d0569e",
)  # fmt: skip
"""At least 3 to 1 in contrast to white and to black."""
_DASHES: Final = ("--", ":", "-.")


def over_time(comparison: Comparison, alt: str) -> str:
    """Under each policy with the first seed: GPUs that pods hold, free ones that are fragmented, jobs that wait; SVG.

    Args:
        comparison: of any policies.
        alt: says the same for those who do not see it.
    """
    with mpl.rc_context(_STYLE):
        figure, (held, lost, waiting) = _axes(3)
        for policy, samples in comparison.samples.items():
            moments = samples[0].moments
            days = [moment.time_s / _DAY_S for moment in moments]
            held.step(days, [100 * moment.allocated for moment in moments], where="post", label=policy, **_line(policy))
            lost.step(days, [100 * moment.fragmented for moment in moments], where="post", **_line(policy))
            waiting.step(days, [moment.waiting for moment in moments], where="post", **_line(policy))
        for axes, label in ((held, "GPUs held (%)"), (lost, "free GPUs\nfragmented (%)"), (waiting, "jobs waiting")):
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
        waiting.yaxis.set_major_locator(MaxNLocator(integer=True))
        waiting.set_xlabel("days")
        figure.align_ylabels()
        return _svg(figure, alt)


def bandwidth_distribution(comparison: Comparison, alt: str) -> str:
    """For each policy the share of pods whose set has at least so much of the ideal bandwidth, all seeds; SVG.

    Args:
        comparison: of any policies.
        alt: says the same for those who do not see it.
    """
    with mpl.rc_context(_STYLE):
        figure, (axes,) = _axes(1)
        for policy, samples in comparison.samples.items():
            shares, pods = np.unique([share for sample in samples for share in sample.shares], return_counts=True)
            reached = 1 - (np.cumsum(pods) - pods) / max(pods.sum(), 1)
            corners = 100 * np.array([[0.0, *shares, 1.0], [1.0, *reached, 0.0]])
            axes.step(*corners, where="pre", label=policy, **_line(policy))
        axes.set_xlabel("share of the ideal bandwidth (%)")
        axes.set_ylabel("pods that have at least that (%)")
        axes.set_xlim(0, 101)
        axes.set_ylim(0, 102)
        return _svg(figure, alt)


def waiting_against_load(comparisons: Sequence[Comparison], alt: str) -> str:
    """The mean waiting time under each policy, for scenarios that differ in their load; SVG.

    Args:
        comparisons: of at least one scenario with a load, each with the same policies.
        alt: says the same for those who do not see it.
    """
    loaded = {comparison.scenario.load: comparison for comparison in comparisons if comparison.scenario.load}
    with mpl.rc_context(_STYLE):
        figure, (axes,) = _axes(1)
        policies = list(next(iter(loaded.values())).samples)
        for number, policy in enumerate(policies):
            found = {load: loaded[load].estimates(policy)["waiting_mean_s"] for load in sorted(loaded)}
            hours = [waiting.mean / 3600 for waiting in found.values()]
            widths = [(waiting.half_width or 0.0) / 3600 for waiting in found.values()]
            aside = (number - (len(policies) - 1) / 2) * _BESIDE
            loads = [100 * load + aside for load in found]
            axes.errorbar(loads, hours, widths, marker="o", capsize=3, elinewidth=1.2, label=policy, **_line(policy))
        axes.set_xlabel("load (%)")
        axes.set_ylabel("mean waiting time (h)")
        axes.set_ylim(bottom=0)
        return _svg(figure, alt)


def _axes(rows: int) -> tuple[Figure, list[Axes]]:
    height = _SINGLE_IN if rows == 1 else _ROW_IN * rows
    figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
    axes = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    return figure, axes


def _line(policy: str) -> dict[str, Any]:
    """Each policy has its line in every picture; this project's are drawn through and stand out."""
    number = list(POLICIES).index(policy)
    colour = _COLOURS[number % len(_COLOURS)]
    if policy in OURS:
        return {"color": colour, "linewidth": 2.4, "zorder": 3}
    return {"color": colour, "linewidth": 1.4, "linestyle": _DASHES[number % len(_DASHES)]}


def _svg(figure: Figure, alt: str) -> str:
    """The picture as an SVG element whose names differ from those of other pictures on the page."""
    figure.legend(loc="outside upper center", ncols=5)
    text = StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawn = text.getvalue()[text.getvalue().index("<svg") :].replace(_INK, "currentColor")
    own = f"p{crc32(alt.encode()):x}-"
    drawn = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{own}", drawn)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)
