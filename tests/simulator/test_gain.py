"""The sentence at the end: what would be gained, and how sure that is."""

import pytest

from simulator.gain import gains
from tests.simulator.made_up import comparison


def test_a_gain_has_its_interval() -> None:
    """9 %, 10 % and 11 % sooner: t is 4.303 for two degrees of freedom, the standard error 1 over the root of 3."""
    [gain] = gains(comparison(0.9, vendor=[3600, 7200, 7200], extender_best=[3276, 6480, 6408]))
    assert gain.sooner.mean == pytest.approx(0.1)
    assert gain.sooner.half_width == pytest.approx(4.303 * 0.01 / 3**0.5)
    assert gain.sentence() == (
        "extender-best: at 90 % load jobs complete 10.0 % sooner, between 7.5 % sooner and 12.5 % sooner with 95 % "
        "confidence, 1.50 h instead of 1.67 h in the mean; pods with several GPUs get -1.7 ± 1.7 percentage points of "
        "the ideal bandwidth."
    )


def test_what_may_be_nothing_is_called_so() -> None:
    [gain] = gains(comparison(None, vendor=[3600, 3600], extender=[3000, 4000]))
    assert gain.sentence().startswith(
        "extender: no gain in time is established: jobs complete between 173.7 % later and 179.2 % sooner"
    )


def test_a_loss_is_called_a_loss() -> None:
    [gain] = gains(comparison(None, vendor=[3600, 3600], extender=[3960, 3960]))
    assert "jobs complete 10.0 % later, between 10.0 % later and 10.0 % later" in gain.sentence()


def test_one_seed_says_nothing_of_others() -> None:
    [gain] = gains(comparison(None, vendor=[3600], extender=[1800]))
    assert "jobs complete 50.0 % sooner, by a single seed that says nothing of others" in gain.sentence()
    assert gain.document()["completion_sooner"] == {"mean": 0.5, "ci95": None}


def test_short_times_are_told_in_seconds() -> None:
    [gain] = gains(comparison(None, vendor=[60, 60], extender=[30, 30]))
    assert "30.00 s instead of 60.00 s in the mean" in gain.sentence()


def test_without_pods_of_several_gpus_links_play_no_part() -> None:
    [gain] = gains(comparison(None, shares=(), vendor=[3600], extender=[3600]))
    assert gain.sentence().endswith("no pod has several GPUs, so that links play no part.")
    assert gain.document()["bandwidth_share_more"] is None


def test_each_of_the_projects_policies_has_its_gain_but_not_without_the_stock_cluster() -> None:
    found = gains(comparison(None, vendor=[3600], extender=[1800], extender_best=[900], fgd=[5]))
    assert [gain.policy for gain in found] == ["extender-best", "extender"]
    assert gains(comparison(None, fgd=[3600], extender=[1800])) == []
