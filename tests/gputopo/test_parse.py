"""`gputopo parse`."""

from pathlib import Path

import orjson
import pytest

from gpu_topology.contract import decode_topology
from gpu_topology.nvidia_smi import parse_topology_matrix
from tests.gputopo.conftest import Command
from tests.gputopo.dumps import PAIRS, WITHOUT_NVLINK, cells, good_dumps
from tests.shared_data import shared

GOOD = good_dumps()


def test_a_dump_becomes_the_canonical_json(gputopo: Command) -> None:
    """The keys that the contract has, with the values of the dump; an NVLink pair's ancestor is null."""
    outcome = gputopo("parse", "-", stdin=PAIRS)

    assert (outcome.status, outcome.errors) == (0, "")
    document = outcome.document
    assert document["gpus"] == 4
    assert document["pcie"] == [
        ["X", None, "PIX", "SYS"],
        [None, "X", "PHB", "SYS"],
        ["PIX", "PHB", "X", None],
        ["SYS", "SYS", None, "X"],
    ]
    assert document["nvlinks"] == [[0, 4, 0, 0], [4, 0, 0, 0], [0, 0, 0, 4], [0, 0, 4, 0]]
    assert document["nvswitch"] is None
    assert document["nics"] == [{"name": "NIC0", "pcie": ["PIX", "NODE", "SYS", "SYS"]}]
    assert [device["numa_node"] for device in document["devices"]] == [0, 0, 0, 1]


def test_the_canonical_json_is_what_the_agent_publishes(gputopo: Command) -> None:
    topology = parse_topology_matrix(PAIRS, products="NVIDIA A100-SXM4-40GB").topology

    outcome = gputopo("parse", "-", "--product", "NVIDIA A100-SXM4-40GB", stdin=PAIRS)

    assert decode_topology(outcome.output.strip()) == topology


def test_a_file_is_read_as_standard_input_is(gputopo: Command, tmp_path: Path) -> None:
    file = tmp_path / "dump.txt"
    file.write_text(PAIRS)

    assert gputopo("parse", file).output == gputopo("parse", "-", stdin=PAIRS).output


def test_json_is_what_parse_prints_anyway(gputopo: Command) -> None:
    assert gputopo("parse", "-", "--json", stdin=PAIRS).output == gputopo("parse", "-", stdin=PAIRS).output


def test_the_matrix_is_the_cells_and_nothing_else(gputopo: Command) -> None:
    outcome = gputopo("parse", "-", "--matrix", stdin=PAIRS)

    assert outcome.output == "X NV4 PIX SYS\nNV4 X PHB SYS\nPIX PHB X NV4\nSYS SYS NV4 X\n"


def test_the_old_name_of_the_farthest_path_is_shown_as_the_new_one(gputopo: Command) -> None:
    outcome = gputopo("parse", "-", "--matrix", stdin=WITHOUT_NVLINK)

    assert outcome.output == "X SYS\nSYS X\n"


def test_the_matrix_as_json_is_a_list_of_rows(gputopo: Command) -> None:
    outcome = gputopo("parse", "-", "--matrix", "--json", stdin=WITHOUT_NVLINK)

    assert outcome.document == [["X", "SYS"], ["SYS", "X"]]


def test_the_matrix_shows_both_directions_of_a_pair_that_differs(gputopo: Command) -> None:
    """As the dump has them, while the canonical JSON takes the weaker one; a warning says so."""
    asymmetric = PAIRS.replace("GPU0\t X \tNV4", "GPU0\t X \tSYS")

    shown = gputopo("parse", "-", "--matrix", stdin=asymmetric)
    canonical = gputopo("parse", "-", stdin=asymmetric)

    assert shown.output.splitlines()[:2] == ["X SYS PIX SYS", "NV4 X PHB SYS"]
    assert canonical.document["nvlinks"][0][1] == canonical.document["nvlinks"][1][0] == 0
    assert "gputopo: warning: GPU0 sees GPU1 over SYS, but GPU1 sees GPU0 over NV4" in canonical.errors


def test_warnings_go_to_standard_error_and_leave_the_output_alone(gputopo: Command) -> None:
    outcome = gputopo("parse", "-", stdin=WITHOUT_NVLINK)

    assert outcome.status == 0
    assert outcome.errors.startswith("gputopo: warning: No NVLink is shown")
    assert outcome.document["nvlinks_complete"] is False


def test_bytes_that_are_no_text_do_not_stop_the_rest_from_being_read(gputopo: Command) -> None:
    """A terminal's recording may hold any byte before the matrix."""
    outcome = gputopo("parse", "-", "--matrix", stdin=b"\xff\xfe login:\r\n" + PAIRS.encode())

    assert outcome.output.startswith("X NV4 PIX SYS\n")


def test_a_dump_that_cannot_be_read_is_one_sentence_and_status_1(gputopo: Command) -> None:
    outcome = gputopo("parse", "-", stdin="No devices were found\n")

    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.errors.startswith("gputopo: ")
    assert len(outcome.errors.splitlines()) == 1


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_the_matrix_of_a_real_dump_has_its_cells(gputopo: Command, path: Path) -> None:
    expected = cells(path.read_text(encoding="utf-8", errors="replace"))

    outcome = gputopo("parse", path, "--matrix")

    assert outcome.status == 0
    assert [line.split(" ") for line in outcome.output.splitlines()] == expected


def test_real_dumps_are_there_to_be_tried() -> None:
    shared("topologies/INDEX.tsv")
    assert len(GOOD) > 80


def test_the_json_of_every_real_dump_describes_as_many_gpus_as_it_has_rows(gputopo: Command) -> None:
    shared("topologies/INDEX.tsv")
    for path in GOOD:
        document = orjson.loads(gputopo("parse", path).output)
        assert document["gpus"] == len(document["pcie"]) == len(document["nvlinks"]) == len(document["devices"])
