"""The parser on real `nvidia-smi topo -m` outputs, against a reading so simple that it can be checked by eye."""

import csv
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from gpu_topology.errors import DumpError
from gpu_topology.nvidia_smi import parse_topology_matrix
from gpu_topology.topology import NodeTopology

TOPOLOGIES = Path(__file__).resolve().parents[3] / "shared" / "topologies"
INDEX = TOPOLOGIES / "INDEX.tsv"

pytestmark = pytest.mark.skipif(
    not INDEX.exists() and os.environ.get("CI") != "true",
    reason="the folder of real outputs is not beside this checkout",
)


def index_rows() -> list[dict[str, str]]:
    if not INDEX.exists():
        return []
    with INDEX.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = index_rows()
GOOD = [row for row in ROWS if row["status"] == "good"]
RECOVERABLE = [row for row in ROWS if row["status"] == "recoverable"]
UNREADABLE = [row for row in ROWS if row["status"] == "unreadable"]
NEVER_RECOVERED = {"damaged/018-b200-8-gpu2-off-fabric-truncated.txt"}
"""Without a header nobody knows how many of its columns are GPUs, and the row of the last GPU is missing."""
ALIGNED_BY_HAND = {"dumps/008-oneflow-v100x8-hand-tabbed.txt"}
"""Several tabs between two cells."""


def name_of(row: dict[str, str]) -> str:
    return Path(row["file"]).stem


def text_of(row: dict[str, str]) -> str:
    return (TOPOLOGIES / row["file"]).read_bytes().decode("utf-8")


def pairs_by_link(topology: NodeTopology) -> str:
    counts = Counter(topology.token(first, second) for first, second in topology.pairs())
    return " ".join(f"{link}:{count}" for link, count in sorted(counts.items()))


def simple_lines(text: str) -> list[str]:
    """The lines without colours, comment signs and table borders."""
    text = re.sub("[\x1b\ufffd]\\[[0-9]*m", "", text)
    return [re.sub("^[# ]+|[|]", " ", line.rstrip("\r")) for line in text.split("\n")]


def simple_rows(text: str, label: str) -> dict[str, list[str]]:
    """The words after each row's label, for labels such as GPU or NIC."""
    words = [line.split() for line in simple_lines(text)]
    return {row[0]: row[1:] for row in words if len(row) > 1 and row[0].startswith(label) and row[1] in LINKS}


LINKS = {"X", "SYS", "NODE", "PHB", "PXB", "PIX", *(f"NV{count}" for count in range(1, 19))}


def test_all_outputs_of_the_index_are_tried() -> None:
    assert (len(GOOD), len(RECOVERABLE), len(UNREADABLE)) == (85, 19, 2)


@pytest.mark.parametrize("row", GOOD, ids=name_of)
def test_every_gpu_cell_of_a_good_output_is_right(row: dict[str, str]) -> None:
    """The weaker of both directions, read by splitting each row at blanks."""
    text = text_of(row)
    topology = parse_topology_matrix(text).topology
    cells = simple_rows(text, "GPU")
    assert len(topology) == len(cells) == int(row["gpus"])
    for first in range(len(topology)):
        for second in range(len(topology)):
            shown = {cells[f"GPU{first}"][second], cells[f"GPU{second}"][first]}
            link = topology.token(first, second)
            assert {link} == shown or (row["symmetric"] == "no" and shown == {"NV6", "SYS"} and link == "SYS")


@pytest.mark.parametrize("row", GOOD, ids=name_of)
def test_every_network_card_of_a_good_output_is_right(row: dict[str, str]) -> None:
    """The columns of the GPUs' rows, and where the cards have rows of their own, those too."""
    text = text_of(row)
    topology = parse_topology_matrix(text).topology
    names = re.findall("NIC[0-9]+|mlx5_[0-9]+", next(line for line in simple_lines(text) if "GPU0" in line))
    assert [nic.name for nic in topology.nics] == names
    gpu_rows = simple_rows(text, "GPU")
    nic_rows = simple_rows(text, "NIC") | simple_rows(text, "mlx")
    for column, nic in enumerate(topology.nics, len(topology)):
        ancestors = [ancestor.name for ancestor in nic.pcie if ancestor is not None]
        assert ancestors == [gpu_rows[f"GPU{gpu}"][column] for gpu in range(len(topology))]
        assert ancestors == nic_rows.get(nic.name, ancestors)[: len(topology)]


@pytest.mark.parametrize("row", GOOD, ids=name_of)
def test_every_affinity_of_a_good_output_is_right(row: dict[str, str]) -> None:
    """By position where tabs separate the cells, else by word: no aligned row has only some of its cells empty."""
    text = text_of(row)
    topology = parse_topology_matrix(text).topology
    header = next(line for line in simple_lines(text) if "GPU0" in line)
    cells_before = 1 + len(topology) + len(topology.nics)
    lines = [line.strip(" ") for line in simple_lines(text) if re.match(r"\s*GPU[0-9]+\s+(?!\s|GPU)", line)]
    for gpu, line in zip(topology.gpus, lines, strict=True):
        by_position = line.count("\t") >= cells_before and row["file"] not in ALIGNED_BY_HAND
        cells = (line.split("\t") if by_position else line.split())[cells_before:]
        cells = [*(["none"] if "CPU" not in header else []), *cells, "", ""]
        assert gpu.cpu_affinity == (cells[0] if cells[0][:1].isdigit() else None)
        assert gpu.numa_node == (int(cells[1]) if cells[1].isdigit() else None)


@pytest.mark.parametrize("row", GOOD + RECOVERABLE, ids=name_of)
def test_a_readable_output_has_the_links_that_the_index_counts(row: dict[str, str]) -> None:
    """The index counts one direction of the one output whose directions differ; that is tested by itself."""
    if row["file"] in NEVER_RECOVERED:
        with pytest.raises(DumpError, match="without a header"):
            parse_topology_matrix(text_of(row))
        return
    topology = parse_topology_matrix(text_of(row)).topology
    assert len(topology) == int(row["gpus"])
    if row["symmetric"] == "yes":
        assert pairs_by_link(topology) == row["pairs_by_link"].replace("SOC", "SYS")


@pytest.mark.parametrize("row", GOOD, ids=name_of)
def test_a_good_output_gives_no_warning_but_of_missing_or_asymmetric_links(row: dict[str, str]) -> None:
    dump = parse_topology_matrix(text_of(row))
    asymmetric = [warning for warning in dump.warnings if "the pair counts as" in warning]
    assert bool(asymmetric) == (row["symmetric"] == "no")
    assert len(dump.warnings) == len(asymmetric) + (not dump.topology.nvlinks_complete)


@pytest.mark.parametrize("row", UNREADABLE, ids=name_of)
def test_an_unreadable_output_is_refused_with_the_line_and_the_cell(row: dict[str, str]) -> None:
    with pytest.raises(DumpError) as refusal:
        parse_topology_matrix(text_of(row))
    assert refusal.value.line is not None
    assert f"Line {refusal.value.line}: " in str(refusal.value)
    assert f'"{refusal.value.cell}"' in str(refusal.value)


def test_the_weaker_direction_of_an_asymmetric_machine_counts() -> None:
    """Three of its six pairs are seen over NV6 one way and over SYS the other."""
    row = next(row for row in GOOD if "041-" in row["file"])
    dump = parse_topology_matrix(text_of(row))
    assert pairs_by_link(dump.topology) == "NV6:2 SYS:4"
    assert dump.warnings == (
        "GPU0 sees GPU2 over NV6, but GPU2 sees GPU0 over SYS: the pair counts as SYS",
        "GPU1 sees GPU2 over NV6, but GPU2 sees GPU1 over SYS: the pair counts as SYS",
        "GPU2 sees GPU3 over SYS, but GPU3 sees GPU2 over NV6: the pair counts as SYS",
    )


@pytest.mark.parametrize(
    ("machine", "nvswitch"),
    [
        ("001-dgx1v", False),  # a cube mesh of one and two links
        ("010-azure-ndv2", False),
        ("016-dgx1p", False),
        ("013-v100x4", False),  # NV1 between GPUs that have NV2 elsewhere
        ("019-dgx-a100", True),  # 7 x 12 links leave each GPU
        ("026-a100x3", True),
        ("043-hgx-h100", True),
        ("058-h800", True),
        ("067-gb200", True),
        ("028-polaris", None),  # 3 x 4 links: direct on this machine, but a switch could show the same
        ("056-h100x4-nv6", None),
        ("034-azure-nc96", None),  # bridged pairs, or a switch in partitions of two
        ("118-rtx3090", None),
        ("073-l40s", None),  # no NVLink
    ],
)
def test_a_switch_is_told_only_where_the_link_counts_allow_one_answer(machine: str, nvswitch: bool | None) -> None:  # noqa: FBT001 - a column of the table
    row = next(row for row in ROWS if f"/{machine}" in row["file"])
    assert parse_topology_matrix(text_of(row)).topology.nvswitch is nvswitch


def test_a_matrix_without_nvlinks_is_not_taken_for_a_machine_without_nvlinks() -> None:
    """`topo -mp` of a DGX-1V shows none of its NVLinks."""
    row = next(row for row in RECOVERABLE if "topo-mp" in row["file"])
    dump = parse_topology_matrix(text_of(row))
    assert not dump.topology.nvlinks_complete
    assert [warning for warning in dump.warnings if "topo -mp" in warning]


@pytest.mark.parametrize("number", ["008", "009", "010"])
def test_glued_cpu_and_numa_cells_are_unknown_and_said_to_be(number: str) -> None:
    """143 and 0 glued to 1430 could be 14 and 30 as well."""
    row = next(row for row in RECOVERABLE if f"/{number}-" in row["file"])
    dump = parse_topology_matrix(text_of(row))
    unknown = [gpu for gpu in dump.topology.gpus if gpu.numa_node is None]
    assert len(unknown) == 4
    assert all(gpu.cpu_affinity is None for gpu in unknown)
    assert len([warning for warning in dump.warnings if "cannot be told apart" in warning]) == 4
