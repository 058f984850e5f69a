"""Pictures of comparisons: the cluster over time, bandwidth by policy, waiting time against load."""

from collections.abc import Sequence
from io import StringIO
from typing import Any, Final

import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.simulation.comparison import Comparison
from benchmarks.simulation.policies import OURS, POLICIES

_DAY_S: Final = 86_400
_WIDTH_IN: Final = 9
_HEIGHT_IN: Final = 4.5


def over_time(comparison: Comparison) -> str:
    """The share of GPUs that pods hold, and the jobs that wait, under each policy with the first seed; SVG."""
    figure, (above, below) = _axes(2)
    for policy, samples in comparison.samples.items():
        moments = samples[0].moments
        days = [moment.time_s / _DAY_S for moment in moments]
        allocated = [100 * moment.allocated for moment in moments]
        above.step(days, allocated, where="post", label=policy, **_style(policy))
        below.step(days, [moment.waiting for moment in moments], where="post", **_style(policy))
    above.set_ylabel("GPUs held (%)")
    below.set_ylabel("jobs waiting")
    below.set_xlabel("days")
    figure.legend(loc="outside right upper", fontsize="small")
    return _svg(figure)


def bandwidth_distribution(comparison: Comparison) -> str:
    """For each policy the share of pods whose set has at most so much of the ideal bandwidth, all seeds; SVG."""
    figure, (axes,) = _axes(1)
    for policy, samples in comparison.samples.items():
        shares = np.sort([100 * share for sample in samples for share in sample.shares])
        reached = 100 * np.arange(1, len(shares) + 1) / max(len(shares), 1)
        axes.step(shares, reached, where="post", label=policy, **_style(policy))
    axes.set_xlabel("share of the ideal bandwidth (%)")
    axes.set_ylabel("pods with several GPUs, up to it (%)")
    figure.legend(loc="outside right upper", fontsize="small")
    return _svg(figure)


def waiting_against_load(comparisons: Sequence[Comparison]) -> str:
    """The mean waiting time under each policy, for workloads that differ in their load; SVG.

    Args:
        comparisons: of at least one workload with a load, each with the same policies.
    """
    figure, (axes,) = _axes(1)
    loaded = {comparison.workload.load: comparison for comparison in comparisons if comparison.workload.load}
    for policy in next(iter(loaded.values())).samples:
        found = {load: loaded[load].estimates(policy)["waiting_mean_s"] for load in sorted(loaded)}
        hours = [waiting.mean / 3600 for waiting in found.values()]
        widths = [(waiting.half_width or 0.0) / 3600 for waiting in found.values()]
        loads = [100 * load for load in found]
        axes.errorbar(loads, hours, widths, marker="o", capsize=3, label=policy, **_style(policy))
    axes.set_xlabel("load (%)")
    axes.set_ylabel("mean waiting time (h)")
    figure.legend(loc="outside right upper", fontsize="small")
    return _svg(figure)


def _axes(rows: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN * (1 if rows == 1 else 1.4)), layout="constrained")
    return figure, [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]


def _style(policy: str) -> dict[str, Any]:
    """Each policy has its colour in every picture; this project's stand out."""
    colour = color_sequences["tab20"][list(POLICIES).index(policy)]
    weight = {"linewidth": 2.4, "zorder": 3} if policy in OURS else {"linewidth": 1.0}
    return {"color": colour, **weight}


def _svg(figure: Figure) -> str:
    """The picture as an SVG element, to stand within a page."""
    text = StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
