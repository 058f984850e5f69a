"""One HTML page, complete in itself, that tells what a comparison has shown."""

from collections.abc import Sequence
from html import escape
from io import StringIO
from typing import Final

from rich.console import Console

from benchmarks.simulation import plots, report
from benchmarks.simulation.comparison import Comparison
from benchmarks.simulation.policies import OURS, POLICIES

_TABLE_WIDTH: Final = 230
"""Characters."""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Simulated clusters</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
pre {{ overflow-x: auto; font-size: 11px; line-height: 1.25; background: #f7f7f7; padding: 1rem; }}
svg {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>Simulated clusters: where pods go, and what they get</h1>
<p>Each policy has scheduled the same jobs on the same cluster. Those of this project call the code of the extender
itself; {ours}. All others are baselines.</p>
{sections}
</body>
</html>
"""
_SECTION: Final = """<h2>{name}</h2>
<p>{description}.</p>
<p>{verdict}</p>
<pre>{table}</pre>
<h3>The cluster over time</h3>
{over_time}
<h3>Bandwidth of the placed sets</h3>
{bandwidth}
"""
_AGAINST_LOAD: Final = """<h2>Waiting time against load</h2>
{picture}
"""


def page(comparisons: Sequence[Comparison]) -> str:
    """The page of at least one comparison."""
    sections = [_section(comparison) for comparison in comparisons]
    if len({comparison.workload.load for comparison in comparisons} - {None}) > 1:
        sections.append(_AGAINST_LOAD.format(picture=plots.waiting_against_load(comparisons)))
    ours = "; ".join(f"<b>{name}</b>: {escape(POLICIES[name].summary)}" for name in OURS)
    return _PAGE.format(ours=ours, sections="".join(sections))


def verdict(comparison: Comparison) -> str:
    """Which policy does best, figure by figure, in a sentence."""
    figures = {policy: comparison.estimates(policy) for policy in comparison.samples}
    quickest = min(figures, key=lambda policy: figures[policy]["completion_mean_s"].mean)
    widest = max(figures, key=lambda policy: figures[policy]["bandwidth_share_mean"].mean)
    completion = figures[quickest]["completion_mean_s"].mean / 3600
    share = 100 * figures[widest]["bandwidth_share_mean"].mean
    return (
        f"Jobs complete soonest under {quickest}, after {completion:.2f} hours in the mean; the sets with most "
        f"bandwidth are those of {widest}, with {share:.0f} % of the ideal."
    )


def _section(comparison: Comparison) -> str:
    return _SECTION.format(
        name=escape(comparison.name),
        description=escape(comparison.workload.description),
        verdict=escape(verdict(comparison)),
        table=escape(_text_of(comparison)),
        over_time=plots.over_time(comparison),
        bandwidth=plots.bandwidth_distribution(comparison),
    )


def _text_of(comparison: Comparison) -> str:
    """The table as plain text."""
    console = Console(file=StringIO(), record=True, width=_TABLE_WIDTH)
    console.print(report.table(comparison))
    return console.export_text()
