"""The page that tells what a comparison has shown."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.simulation import plots
from benchmarks.simulation.comparison import Comparison, Sample
from benchmarks.simulation.metrics import Moment
from benchmarks.simulation.page import page, verdict
from benchmarks.simulation.workload import JobSource, Workload

FIGURES = ("completion_mean_s", "completion_p95_s", "waiting_mean_s", "waiting_p95_s", "slowdown_mean")
SHARES = ("bandwidth_share_mean", "bandwidth_share_p5", "best_class_share", "allocation_ratio", "fragmentation")


def comparison(load: float, **completion_s: float) -> Comparison:
    """A comparison of policies with these mean completion times, which get bandwidth in the same order."""
    workload = Workload(description="a & b", nodes={"dgx-1v": 1}, jobs=JobSource(generator="itp"), load=load)
    samples = {
        policy.replace("_", "-"): [
            Sample(
                policy,
                1,
                dict.fromkeys(FIGURES, seconds) | dict.fromkeys(SHARES, seconds / 36_000),
                100.0,
                [0.5, 1.0],
                [Moment(0, 0.5, 0.1, 0), Moment(86_400, 0.0, 0.0, 2)],
            )
        ]
        for policy, seconds in completion_s.items()
    }
    return Comparison("made-up", workload, samples)


@pytest.fixture
def both() -> list[Comparison]:
    return [comparison(0.7, vendor=7200, extender_best=3600), comparison(0.9, vendor=9000, extender_best=7200)]


def test_the_verdict_names_the_best(both: list[Comparison]) -> None:
    assert verdict(both[0]) == (
        "Jobs complete soonest under extender-best, after 1.00 hours in the mean; the sets with most bandwidth are "
        "those of vendor, with 20 % of the ideal."
    )


def test_the_page_is_complete_in_itself(both: list[Comparison], tmp_path: Path) -> None:
    """Two pictures for each comparison and one for all loads; no script, and nothing that is fetched."""
    file = tmp_path / "index.html"
    file.write_text(page(both), encoding="utf-8")
    text = file.read_text(encoding="utf-8")
    assert text.count("<svg") == 5
    assert "a &amp; b" in text
    assert "<script" not in text
    assert 'src="http' not in text


def test_one_load_makes_no_curve(both: list[Comparison]) -> None:
    assert page(both[:1]).count("<svg") == 2


@pytest.mark.parametrize("draw", [plots.over_time, plots.bandwidth_distribution])
def test_a_picture_names_every_policy(both: list[Comparison], draw: object) -> None:
    assert callable(draw)
    picture = draw(both[0])
    assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - drawn here
    assert "vendor" in picture
    assert "extender-best" in picture
