"""One HTML page, complete in itself, that tells what comparisons have shown: in sentences, tables and pictures."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Final

from simulator import report
from simulator.comparison import Comparison
from simulator.gain import gains
from simulator.metrics import HIGH_PERCENTILE
from simulator.policies import POLICIES

NO_PICTURES: Final = "The pictures are missing: they need matplotlib, which the extra `simulate` of the package brings."

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{
  color-scheme: light dark;
  --ink: light-dark(#1d2430, #e4e8ee);
  --soft: light-dark(#566072, #a3adbb);
  --ground: light-dark(#ffffff, #14181d);
  --panel: light-dark(#f3f5f8, #1d232b);
  --rule: light-dark(#d5dae2, #363f4b);
  --accent: light-dark(#1f66b0, #7ab4f0);
}}
body {{ font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem;
  color: var(--ink); background: var(--ground); }}
h1 {{ font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }}
h2 {{ font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: 1.5rem; border-top: 1px solid var(--rule); }}
h3 {{ font-size: 1.05rem; margin: 2rem 0 .25rem; }}
p, figcaption {{ max-width: 46rem; }}
.gains {{ max-width: 46rem; padding: .9rem 1.1rem .9rem 2rem; margin: 1rem 0;
  background: var(--panel); border-left: 4px solid var(--accent); }}
.scroll {{ overflow-x: auto; margin: 1rem 0; }}
table {{ border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }}
caption, figcaption {{ color: var(--soft); font-size: .9rem; text-align: left; }}
th, td {{ padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }}
th[scope=row] {{ text-align: left; font-weight: 400; }}
.gains li + li {{ margin-top: .4rem; }}
figure {{ margin: .5rem 0 0; }}
svg {{ display: block; max-width: 100%; height: auto; color: var(--ink); }}
dt {{ font-weight: 600; }}
dd {{ margin: 0 0 .4rem; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{cluster}</p>
{gains}
<p>Each policy has scheduled the same jobs on the same machines, by simulation; those of this project call the code of
its extender itself.</p>
{sections}
<h2>The policies</h2>
<dl>{policies}</dl>
</main>
</body>
</html>
"""
_SECTION: Final = """<h2>{name}</h2>
<p>{verdict}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Figures: {name}">
<table>
<caption>Means over {seeds}; ± is the 95 % confidence interval over the seeds. Bandwidth is that of pods with several
GPUs; the ideal is the best set in the whole cluster for a pod of that size.</caption>
<thead><tr><td></td>{policies}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
{notes}
"""


def write_page(comparisons: Sequence[Comparison], folder: Path) -> Path:
    """Write `index.html` into a folder that exists.

    Returns:
        The file.

    Raises:
        OSError: it cannot be written.
    """
    file = folder / "index.html"
    file.write_text(page(comparisons), encoding="utf-8")
    return file


def can_draw() -> bool:
    """Whether matplotlib is installed, without which the page has no pictures."""
    return find_spec("matplotlib") is not None


def page(comparisons: Sequence[Comparison]) -> str:
    """The page of at least one comparison, of the same policies on the same machines."""
    first = comparisons[0]
    sections = [_section(comparison) for comparison in comparisons]
    if len(comparisons) > 1:
        sections.insert(0, _against_load(comparisons))
    found = [gain for comparison in comparisons for gain in gains(comparison)]
    return _PAGE.format(
        title=escape(f"Simulated: {first.scenario.name}"),
        cluster=escape(f"{first.scenario.description}: {_machines(first)}."),
        gains=f'<ul class="gains">{"".join(f"<li>{escape(gain.sentence())}</li>" for gain in found)}</ul>'
        if found
        else "",
        sections="".join(sections),
        policies="\n".join(
            f"<dt>{escape(policy)}</dt><dd>{escape(POLICIES[policy].summary)}</dd>" for policy in first.samples
        ),
    )


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
    seeds = max(map(len, comparison.samples.values()))
    notes = [f"<p>{escape(note)}.</p>"] if (note := report.left_out(comparison)) else []
    return _SECTION.format(
        name=escape(report.title(comparison)),
        verdict=escape(verdict(comparison)),
        seeds="1 seed" if seeds == 1 else f"{seeds} seeds",
        policies="".join(f'<th scope="col">{escape(policy)}</th>' for policy in comparison.samples),
        rows="\n".join(_row(row) for row in list(zip(report.LABELS, *report.rows(comparison), strict=True))[1:]),
        notes="\n".join([*notes, _pictures(comparison)]),
    )


def _row(cells: Sequence[str]) -> str:
    label, *figures = map(escape, cells)
    return f'<tr><th scope="row">{label}</th>{"".join(f"<td>{figure}</td>" for figure in figures)}</tr>'


def _pictures(comparison: Comparison) -> str:
    if not can_draw():
        return f"<p>{escape(NO_PICTURES)}</p>"
    from simulator import plots  # noqa: PLC0415 - matplotlib may not be there, and takes a second to load

    where = report.title(comparison)
    held, lost, wide = (
        _means(comparison, name, 100, "%") for name in ("allocation_ratio", "fragmentation", "bandwidth_share_mean")
    )
    return _figure(
        "The cluster over time",
        "With the first seed. Above, the share of the GPUs that pods hold; then that of the free GPUs that are too "
        "few on their node for the average request; below, how many jobs wait.",
        plots.over_time(comparison, f"{where}: GPUs held in the mean: {held}; free GPUs fragmented: {lost}."),
    ) + _figure(
        "Bandwidth of the placed sets",
        "All seeds. The further up and to the right a line stays, the more pods have fast links: at 50, it shows how "
        "many pods have at least half of the ideal bandwidth.",
        plots.bandwidth_distribution(comparison, f"{where}: share of the ideal bandwidth in the mean: {wide}."),
    )


def _against_load(comparisons: Sequence[Comparison]) -> str:
    if not can_draw():
        return ""
    from simulator import plots  # noqa: PLC0415 - matplotlib may not be there, and takes a second to load

    waits = "; ".join(
        f"{100 * (comparison.scenario.load or 0):g} % load: {_means(comparison, 'waiting_mean_s', 1 / 3600, 'h')}"
        for comparison in comparisons
    )
    return "<h2>Waiting time against load</h2>" + _figure(
        "",
        f"Mean hours from a job's arrival to its start, with the 95 % confidence interval over the seeds. What "
        f"{HIGH_PERCENTILE} % of the jobs stay below is in the tables.",
        plots.waiting_against_load(comparisons, f"Mean waiting time at {waits}."),
    )


def _figure(heading: str, caption: str, picture: str) -> str:
    above = f"<h3>{escape(heading)}</h3>" if heading else ""
    return f"{above}<figure><figcaption>{escape(caption)}</figcaption>{picture}</figure>\n"


def _means(comparison: Comparison, figure: str, factor: float, unit: str) -> str:
    """The means of a figure under each policy, for the ear."""
    means = {
        policy: factor * fmean(sample.figures[figure] for sample in samples)
        for policy, samples in comparison.samples.items()
    }
    return ", ".join(f"{policy} {mean:.1f} {unit}" for policy, mean in means.items())


def _machines(comparison: Comparison) -> str:
    """How many nodes with how many GPUs, largest first."""
    machines = comparison.scenario.machines.values()
    sizes = Counter(map(len, machines))
    listed = ", ".join(f"{count} with {size} GPUs" for size, count in sorted(sizes.items(), reverse=True))
    return f"{len(machines)} nodes, {sum(map(len, machines))} GPUs ({listed})"
