"""Runs, figures, and what is written about them."""

import csv
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from gpu_topology.errors import SettingsError
from simulator import report
from simulator.comparison import Comparison, Sample, compare
from simulator.estimate import estimate
from simulator.jobs import Job, pod_of
from simulator.metrics import Moment, Timeline
from simulator.policies import POLICIES
from simulator.run import run
from tests.simulator.clusters import cluster, scenario


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_figures(policy: str) -> None:
    small = scenario()
    one, same = (run(small.machines, small.jobs(1), policy, 1).figures for _ in range(2))
    assert one == same
    assert (one.jobs, one.jobs_left_out) == (40, 0)
    assert 0 < one.allocation_ratio <= 1
    assert 0 < one.bandwidth_share_p5 <= one.bandwidth_share_mean <= 1
    assert one.completion_mean_s >= one.waiting_mean_s
    assert one.slowdown_mean >= 1


def test_jobs_that_never_start_are_counted() -> None:
    """A pod of 16 GPUs beside one of 1."""
    jobs = [Job("huge", 0, 1, (pod_of(16),)), Job("small", 0, 1, (pod_of(1),))]
    figures = run(scenario().machines, jobs, "vendor", 1).figures
    assert (figures.jobs, figures.jobs_left_out) == (1, 1)


def test_an_unknown_policy_is_refused() -> None:
    small = scenario()
    with pytest.raises(SettingsError, match="there is no policy 'guess'"):
        run(small.machines, small.jobs(1), "guess", 1)


def test_the_mean_over_seeds_has_an_interval() -> None:
    """Of 1, 2 and 3: t is 4.303 for two degrees of freedom, the standard error 1 over the root of 3."""
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.303 / 3**0.5)
    assert estimate([5.0]) == (5.0, None)


def test_the_timeline_weighs_moments_by_how_long_they_last() -> None:
    """Half full for 9 s, then empty for 1 s; the four free GPUs serve no request of eight."""
    timeline, nodes = Timeline(), cluster("pcie-8")
    timeline.moments = [Moment(0, 0.5, 0.07, 0), Moment(9, 0.0, 0.0, 0), Moment(20, 1.0, 1.0, 0)]
    assert timeline.means_until(10) == pytest.approx((0.45, 0.063))
    timeline(30, nodes, 3)
    assert timeline.moments[-1] == Moment(30, 0.0, 0.0, 3)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    steps: list[None] = []
    found = compare(scenario(), ["extender-best", "vendor"], 2, lambda: steps.append(None))
    assert len(steps) == 4
    return found


def test_policies_are_compared_over_all_seeds(comparison: Comparison) -> None:
    assert {policy: [sample.seed for sample in samples] for policy, samples in comparison.samples.items()} == {
        "extender-best": [1, 2],
        "vendor": [1, 2],
    }
    document = comparison.document()
    assert document["policies"]["vendor"]["jobs"] == {"mean": 40, "ci95": 0}
    assert document["decisions_per_s"]["vendor"]["mean"] > 0


def test_figures_are_written_as_json_and_csv(comparison: Comparison, tmp_path: Path) -> None:
    document, sheet = report.write_files([comparison], tmp_path / "results")
    assert orjson.loads(document.read_bytes())[0]["workload"] == "small"
    with sheet.open() as lines:
        rows = list(csv.DictReader(lines))
    sample: Sample = comparison.samples["vendor"][1]
    (value,) = (
        row["value"] for row in rows if (row["policy"], row["seed"], row["figure"]) == ("vendor", "2", "makespan_s")
    )
    assert float(value) == sample.figures["makespan_s"]


def test_tables_have_a_row_for_each_policy_and_each_figure(comparison: Comparison) -> None:
    assert report.table(comparison).row_count == 2
    gaps = report.difference_table(comparison, "extender-best", "vendor")
    assert gaps.row_count == len(comparison.samples["vendor"][0].figures)
    console = Console(record=True, width=200)
    console.print(report.table(comparison), gaps)
    assert "extender-best" in console.export_text()
