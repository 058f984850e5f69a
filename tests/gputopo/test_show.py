"""`gputopo show`."""

from pathlib import Path

import orjson
import pytest

from gputopo.machine_file import read_machine
from tests.gputopo.conftest import Command
from tests.gputopo.dumps import PAIRS, WITHOUT_NVLINK
from topology_agent.profiles import machine_names


def test_a_person_sees_the_matrix_the_islands_and_the_best_sets(gputopo: Command) -> None:
    outcome = gputopo("show", "--machine", "dgx-1v")

    lines = [line.split() for line in outcome.output.splitlines()]
    assert ["GPU0", "X", "NV1", "NV1", "NV2", "NV2", "SYS", "SYS", "SYS", "0"] in [line[:10] for line in lines]
    assert "linked by NVLink: 0, 1, 2, 3, 4, 5, 6, 7\n" in outcome.output
    assert "under one PCIe switch: 0, 1 | 2, 3 | 4, 5 | 6, 7\n" in outcome.output
    assert "in one NUMA node: 0, 1, 2, 3 | 4, 5, 6, 7\n" in outcome.output
    assert [line[0] for line in lines if "GB/s" in line and line[0].isdigit()] == ["2", "4", "8"]


def test_each_kind_of_link_is_listed_with_its_bandwidth(gputopo: Command) -> None:
    outcome = gputopo("show", "-", "--product", "NVIDIA A100-SXM4-40GB", stdin=PAIRS)

    assert "NV4 91.6 GB/s   PIX 26.3 GB/s   PHB 26.3 GB/s   SYS 24.2 GB/s\n" in outcome.output


def test_a_gpu_is_shown_with_the_network_cards_nearest_to_it(gputopo: Command) -> None:
    rows = {
        line.split()[0]: line.rstrip()
        for line in gputopo("show", "-", stdin=PAIRS).output.splitlines()
        if "GPU" in line
    }

    assert rows["GPU0"].endswith("NIC0 (PIX)")
    assert rows["GPU3"].endswith("NIC0 (SYS)")


def test_what_hides_behind_nvlinks_is_said_to_be_unknown(gputopo: Command) -> None:
    hidden = gputopo("show", "-", stdin=PAIRS)
    known = gputopo("show", "--machine", "dgx-1v")

    assert "The PCIe paths between some GPUs are unknown" in hidden.output
    assert "unknown" not in known.output


def test_colours_are_for_terminals_only(gputopo: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = gputopo("show", "-", stdin=PAIRS)
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = gputopo("show", "-", stdin=PAIRS)

    assert "\x1b[" not in plain.output
    assert "\x1b[32mNV4" in coloured.output


def test_the_json_has_the_same_for_a_program(gputopo: Command) -> None:
    document = gputopo("show", "-", "--json", stdin=PAIRS).document

    assert document["gpus"] == 4
    assert document["matrix"][0] == ["X", "NV4", "PIX", "SYS"]
    assert document["bandwidth_gbps"][0][0] == 0
    assert document["pcie_known"] is False
    assert document["islands"]["nvlink"] == [[0, 1], [2, 3]]
    assert document["islands"]["numa"] == [[0, 1, 2], [3]]
    pair, quad = document["best_sets"]
    assert (pair["gpus"], pair["alike"]) == ([0, 1], 1)
    assert quad["gpus"] == [0, 1, 2, 3]


def test_the_best_set_of_the_whole_machine_is_the_one_that_place_chooses(gputopo: Command) -> None:
    shown = gputopo("show", "--machine", "hgx-h100", "--json").document["best_sets"]

    for best in shown:
        placed = gputopo("place", "--machine", "hgx-h100", "--gpus", len(best["gpus"]), "--json").document
        assert placed["gpus"] == best["gpus"]


def test_canonical_json_is_shown_as_the_dump_it_comes_from(gputopo: Command) -> None:
    canonical = gputopo("parse", "-", stdin=PAIRS).output

    assert gputopo("show", "-", stdin=canonical).output == gputopo("show", "-", stdin=PAIRS).output


def test_a_machine_without_pairs_can_be_shown(gputopo: Command) -> None:
    alone = '{"gpus":1,"pcie":[["X"]],"nvlinks":[[0]],"nvswitch":null,"nics":[]}'

    outcome = gputopo("show", "-", stdin=alone)

    assert outcome.status == 0
    assert "linked by NVLink: none" in outcome.output


def test_what_is_approximate_says_so(gputopo: Command) -> None:
    """Above 16 GPUs not every set is looked at."""
    size = 17
    pcie = [["X" if i == j else "SYS" for j in range(size)] for i in range(size)]
    large = orjson.dumps({"gpus": size, "pcie": pcie, "nvlinks": [[0] * size] * size})

    assert "Approximate" in gputopo("show", "-", stdin=large).output
    assert "approximate" in gputopo("place", "-", "--gpus", "2", stdin=large).output
    assert gputopo("place", "-", "--gpus", "2", "--json", stdin=large).document["approximate"] is True
    assert "approximate" not in gputopo("place", "-", "--gpus", "2", "--json", stdin=PAIRS).document


@pytest.mark.parametrize("name", machine_names())
def test_every_well_known_machine_can_be_shown(gputopo: Command, name: str) -> None:
    document = gputopo("show", "--machine", name, "--json").document

    assert document["gpus"] == len(read_machine(None, name, None))
    assert document["best_sets"]


def test_a_drawing_is_written_besides(gputopo: Command, tmp_path: Path) -> None:
    drawing = tmp_path / "machine.svg"

    outcome = gputopo("show", "-", "--svg", drawing, stdin=WITHOUT_NVLINK)

    assert "GPU0" in outcome.output
    assert drawing.read_text().startswith("<svg ")
