"""`gputopo predict`."""

import orjson

from tests.gputopo.conftest import Command
from tests.gputopo.dumps import PAIRS, WITHOUT_NVLINK


def test_the_outcomes_come_with_the_vendors_scores(gputopo: Command) -> None:
    """Four bridged pairs, all free: any of the four, at 100 for each NVLink and 10 to 60 for the PCIe path."""
    document = gputopo("predict", "--machine", "bridged-pairs-8", "--gpus", "2", "--json").document

    assert document["predictable"] is True
    assert document["reason"] is None
    assert len(document["outcomes"]) == 4
    assert len(document["scores"]) == 1
    assert document["may_crash"] is False


def test_a_single_gpu_may_be_any_free_one(gputopo: Command) -> None:
    document = gputopo("predict", "--machine", "dgx-1v", "--gpus", "1", "--free", "6,2,0", "--json").document

    assert document["outcomes"] == [[0], [2], [6]]
    assert document["scores"] == [0]


def test_a_crash_is_foretold(gputopo: Command) -> None:
    """Three of five: the faster pair may stand in the set that is not full, and win."""
    pcie = [["X" if i == j else "SYS" for j in range(5)] for i in range(5)]
    nvlinks = [[0] * 5 for _ in range(5)]
    nvlinks[0][1] = nvlinks[1][0] = 8
    nvlinks[2][3] = nvlinks[3][2] = 4
    machine = orjson.dumps({"gpus": 5, "pcie": pcie, "nvlinks": nvlinks, "nvswitch": False, "nics": []})

    document = gputopo("predict", "-", "--gpus", "3", "--json", stdin=machine).document

    assert document["predictable"] is True
    assert document["may_crash"] is True
    assert "the plugin may crash" in gputopo("predict", "-", "--gpus", "3", stdin=machine).output


def test_a_dump_hides_too_much_to_be_sure(gputopo: Command) -> None:
    """Two GPUs that differ in what they hide can be any; the reason names the pair."""
    document = gputopo("predict", "-", "--gpus", "2", "--json", stdin=PAIRS).document

    assert document["predictable"] is False
    assert "GPU 0 and GPU 1" in document["reason"]
    assert "not predictable: " in gputopo("predict", "-", "--gpus", "2", stdin=PAIRS).output


def test_a_person_sees_the_worst_outcome_first(gputopo: Command) -> None:
    output = gputopo("predict", "--machine", "pcie-8", "--gpus", "3").output

    speeds = [float(line.split()[-2]) for line in output.splitlines() if line.rstrip().endswith("GB/s")]
    assert speeds
    assert speeds == sorted(speeds)


def test_a_long_list_is_cut_for_a_person_and_not_for_a_program(gputopo: Command) -> None:
    """Any of 16 GPUs may be a single one's; any two of 16 alike may be a pair."""
    size = 16
    pcie = [["X" if i == j else "PIX" for j in range(size)] for i in range(size)]
    alike = orjson.dumps({"gpus": size, "pcie": pcie, "nvlinks": [[0] * size] * size})

    outcomes = gputopo("predict", "-", "--gpus", "8", "--json", stdin=alike).document["outcomes"]
    output = gputopo("predict", "-", "--gpus", "8", stdin=alike).output

    assert len(outcomes) == 12_870
    assert "and 12850 more; --json lists them all\n" in output


def test_the_warning_of_a_dump_does_not_touch_the_answer(gputopo: Command) -> None:
    outcome = gputopo("predict", "-", "--gpus", "2", "--json", stdin=WITHOUT_NVLINK)

    assert outcome.document["outcomes"] == [[0, 1]]
    assert outcome.errors.startswith("gputopo: warning: ")
