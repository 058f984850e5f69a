"""The page that tells what a comparison has shown."""

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from simulator import page as page_module
from simulator import plots
from simulator.comparison import Comparison
from simulator.page import page, verdict, write_page
from tests.simulator.made_up import comparison


@pytest.fixture
def both() -> list[Comparison]:
    return [
        comparison(0.7, vendor=[7200], extender_best=[3600]),
        comparison(0.9, vendor=[9000], extender_best=[7200]),
    ]


def test_the_verdict_names_the_best(both: list[Comparison]) -> None:
    assert verdict(both[0]) == (
        "Jobs complete soonest under extender-best, after 1.00 hours in the mean; the sets with most bandwidth are "
        "those of vendor, with 20 % of the ideal."
    )


def test_the_page_is_complete_in_itself(both: list[Comparison], tmp_path: Path) -> None:
    """Two pictures for each comparison and one for all loads; no script, and nothing that is fetched."""
    text = write_page(both, tmp_path).read_text(encoding="utf-8")
    assert text.count("<svg") == 5
    assert "a &amp; b" in text
    assert "<script" not in text
    assert 'src="http' not in text


def test_every_picture_says_the_same_to_those_who_do_not_see_it(both: list[Comparison]) -> None:
    pictures = re.findall(r"<svg[^>]*>", page(both))
    assert all('role="img"' in picture for picture in pictures)
    assert 'aria-label="Mean waiting time at 70 % load: vendor 2.0 h, extender-best 1.0 h; 90 % load: ' in pictures[0]


def test_no_name_is_given_twice(both: list[Comparison]) -> None:
    """The pictures stand in one document, and refer to their own parts."""
    text = page(both)
    names = Counter(re.findall(r'\bid="([^"]*)"', text))
    assert [name for name, times in names.items() if times > 1] == []
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', text)) <= set(names)


def test_letters_are_letters_in_the_colour_of_the_page(both: list[Comparison]) -> None:
    """So that they can be read on a dark ground, searched for and copied."""
    text = page(both)
    assert "currentColor" in text
    assert "mean waiting time (h)" in text
    assert plots._INK not in text


def test_the_same_comparison_gives_the_same_page(both: list[Comparison]) -> None:
    assert page(both) == page(both)


def test_the_gain_stands_before_all_else(both: list[Comparison]) -> None:
    text = page(both)
    assert text.index("at 70 % load jobs complete 50.0 % sooner") < text.index("<table>")


def test_without_matplotlib_the_page_says_what_is_missing(
    both: list[Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "find_spec", lambda _: None)
    text = page(both)
    assert "<svg" not in text
    assert "they need matplotlib" in text
    assert "share of the ideal bandwidth, mean (%)" in text


def test_jobs_that_never_started_are_told_of() -> None:
    found = comparison(None, left_out=3, vendor=[3600], extender=[3600])
    assert "jobs that never found room for all their pods, and count in no figure: 3 under vendor" in page([found])


def test_one_load_makes_no_curve(both: list[Comparison]) -> None:
    assert page(both[:1]).count("<svg") == 2


@pytest.mark.parametrize("draw", [plots.over_time, plots.bandwidth_distribution])
def test_a_picture_names_every_policy(both: list[Comparison], draw: object) -> None:
    assert callable(draw)
    picture = draw(both[0], "alt")
    assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - drawn here
    assert "vendor" in picture
    assert "extender-best" in picture
