"""`gputopo place` for a person."""

import pytest

from tests.gputopo.conftest import Command
from tests.gputopo.dumps import PAIRS


def test_the_chosen_set_comes_with_its_bandwidth_and_what_is_left(gputopo: Command) -> None:
    document = gputopo("place", "-", "--gpus", "2", "--json", stdin=PAIRS).document

    assert document["gpus"] == [0, 1]
    assert document["bandwidth_gbps"] == document["pair_sum_gbps"] == 73.2
    assert document["leftover"]["free"] == [2, 3]
    assert document["leftover"]["best_gbps"] == {"2": 73.2}
    assert 0 < document["leftover"]["value"] < 1
    assert document["leftover"]["change"] < 0


def test_only_free_gpus_are_taken(gputopo: Command) -> None:
    document = gputopo("place", "-", "--gpus", "2", "--free", "3, 0,2", "--json", stdin=PAIRS).document

    assert document["gpus"] == [2, 3]
    assert document["leftover"]["free"] == [0]
    assert document["leftover"]["best_gbps"] == {}


def test_a_single_gpu_has_no_link_and_breaks_no_pair(gputopo: Command) -> None:
    document = gputopo("place", "-", "--gpus", "1", "--free", "0,2,3", "--json", stdin=PAIRS).document

    assert document["gpus"] == [0]
    assert document["bandwidth_gbps"] == 0


def test_a_pod_that_does_not_communicate_leaves_the_pair_alone(gputopo: Command) -> None:
    quiet = gputopo(
        "place", "-", "--gpus", "2", "--free", "0,2,3", "--communication", "none", "--json", stdin=PAIRS
    ).document

    assert len(quiet["leftover"]["free"]) == 1
    assert quiet["leftover"]["value"] >= 0


def test_a_hard_wish_decides_before_everything_else(gputopo: Command) -> None:
    document = gputopo(
        "place", "-", "--gpus", "2", "--free", "0,2,3", "--require", "pcie-switch", "--json", stdin=PAIRS
    ).document

    assert document["gpus"] == [0, 2]
    assert document["alternatives"][0]["gpus"] == [2, 3]
    assert document["alternatives"][0]["reason"] == "not known to be under one PCIe switch"


def test_a_set_that_is_fast_enough_is_found(gputopo: Command) -> None:
    document = gputopo("place", "--machine", "dgx-1v", "--gpus", "2", "--min-bandwidth-gbps", "40", "--json").document

    assert document["bandwidth_gbps"] == 47.8


def test_the_worth_model_decides_what_bandwidth_means(gputopo: Command) -> None:
    ring = gputopo("place", "--machine", "dgx-1v", "--gpus", "4", "--json").document
    effbw = gputopo("place", "--machine", "dgx-1v", "--gpus", "4", "--worth", "effbw", "--json").document

    assert ring["bandwidth_gbps"] == 23.9
    assert effbw["bandwidth_gbps"] != 23.9


def test_the_next_best_sets_come_with_the_reason_why_they_lost(gputopo: Command) -> None:
    alternatives = gputopo("place", "--machine", "dgx-1v", "--gpus", "2", "--json").document["alternatives"]

    assert len(alternatives) == 3
    assert all(each["reason"] and each["alike"] >= 1 for each in alternatives)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_as_many_alternatives_are_shown_as_are_asked_for(gputopo: Command, count: int) -> None:
    document = gputopo("place", "--machine", "dgx-1v", "--gpus", "3", "--alternatives", count, "--json").document

    assert len(document["alternatives"]) == count


def test_a_person_reads_the_same(gputopo: Command) -> None:
    output = gputopo("place", "-", "--gpus", "2", stdin=PAIRS).output

    chosen = next(line for line in output.splitlines() if "chosen" in line and "GB/s" in line)
    assert chosen.split()[:4] == ["0,", "1", "73.2", "GB/s"]
    assert "left free: GPUs 2, 3; best 2 at 73.2 GB/s\n" in output
    assert "cost to the pods that come next: " in output


def test_nothing_left_is_said(gputopo: Command) -> None:
    assert "left free: GPUs none; no pair\n" in gputopo("place", "-", "--gpus", "4", stdin=PAIRS).output
