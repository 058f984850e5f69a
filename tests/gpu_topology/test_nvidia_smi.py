"""The parser on outputs made for one property each."""

import pytest

from gpu_topology.errors import DumpError
from gpu_topology.links import PcieAncestor
from gpu_topology.nvidia_smi import Dump, parse_topology_matrix

MATRIX = (
    "\tGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n"
    "GPU0\t X \tNV12\tSYS\tPIX\t0-15\t0\t\tN/A\n"
    "GPU1\tNV12\t X \tPXB\tNODE\t0-15\t0\t\tN/A\n"
    "GPU2\tSYS\tPXB\t X \tSYS\t16-31\t1\t\tN/A\n"
    "NIC0\tPIX\tNODE\tSYS\t X \t\t\t\t\n"
)
LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks

NIC Legend:

  NIC0: mlx5_0
"""
EXPECTED = [["X", "NV12", "SYS"], ["NV12", "X", "PXB"], ["SYS", "PXB", "X"]]
WHOLE = parse_topology_matrix(MATRIX)


def links(dump: Dump) -> list[list[str]]:
    gpus = range(len(dump.topology))
    return [[dump.topology.token(first, second) for second in gpus] for first in gpus]


def refusal_of(text: str) -> DumpError:
    with pytest.raises(DumpError) as refusal:
        parse_topology_matrix(text)
    return refusal.value


def test_the_matrix_of_an_output_is_read() -> None:
    assert links(WHOLE) == EXPECTED
    assert WHOLE.warnings == ()


def test_a_pair_with_nvlinks_has_no_known_pcie_ancestor() -> None:
    assert WHOLE.topology.pcie[0] == (None, None, PcieAncestor.SYS)
    assert WHOLE.topology.nvlinks[0] == (0, 12, 0)


def test_network_cards_have_the_ancestors_of_their_column() -> None:
    (nic,) = WHOLE.topology.nics
    assert nic.name == "NIC0"
    assert nic.pcie == (PcieAncestor.PIX, PcieAncestor.NODE, PcieAncestor.SYS)


def test_gpus_have_the_affinities_of_their_row() -> None:
    assert [gpu.cpu_affinity for gpu in WHOLE.topology.gpus] == ["0-15", "0-15", "16-31"]
    assert [gpu.numa_node for gpu in WHOLE.topology.gpus] == [0, 0, 1]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(MATRIX.expandtabs(), id="tabs turned into blanks"),
        pytest.param(MATRIX.replace("\t", " "), id="cells separated by one blank"),
        pytest.param(MATRIX.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(MATRIX.removesuffix("\n"), id="no newline at the end"),
        pytest.param(MATRIX.lstrip("\t"), id="header not indented"),
        pytest.param("\ufeff" + MATRIX, id="byte order mark"),
        pytest.param(
            MATRIX.replace("\tGPU0", "\t\x1b[4mGPU0").replace(" ID\n", " ID\x1b[0m\n"), id="underlined header"
        ),
        pytest.param(
            MATRIX.replace("\tGPU0", "\ufffd[4mGPU0").replace(" ID\n", " ID\ufffd[0m\n"), id="escape replaced"
        ),
        pytest.param(MATRIX.replace("\tGPU0", "[4mGPU0").replace(" ID\n", " ID[0m\n"), id="escape lost"),
        pytest.param("".join(f"# {line}\n" for line in MATRIX.splitlines()), id="comment"),
        pytest.param("".join(f"    {line}\n" for line in MATRIX.splitlines()), id="indented"),
        pytest.param("".join(f"2025-04-06T03:02:45.84Z {line}\n" for line in MATRIX.splitlines()), id="log"),
        pytest.param("".join(f"Apr  6 03:02:45 {line}\n" for line in MATRIX.splitlines()), id="syslog"),
        pytest.param("$ nvidia-smi topo -m\n" + MATRIX + LEGEND + "$ nvidia-smi -L\nGPU 0: A100\n", id="transcript"),
        pytest.param(LEGEND + MATRIX, id="legend before"),
        pytest.param("GPU0 is slow, see below.\n```\n" + MATRIX + "```\nGPU2 has no NVLink.\n", id="prose around"),
        pytest.param(MATRIX.replace("GPU0\tGPU1\tGPU2\tNIC0\tC", "GPU0GPU1GPU2NIC0C"), id="header glued"),
        pytest.param(MATRIX.replace("NV12\tSYS\tPIX", "NV12SYSPIX").replace("X \tPXB\tNODE", "X PXBNODE"), id="glued"),
        pytest.param(MATRIX.replace("CPU Affinity\tNUMA Affinity\t", "CPU AffinityNUMA Affinity"), id="affinity glued"),
        pytest.param(MATRIX.replace("0\t\tN/A", "0N/A").replace("1\t\tN/A", "1N/A"), id="N/A glued"),
        pytest.param(MATRIX.replace("NUMA Aff", "NUMA \nAff").replace("S\tPIX", "S\n\tPIX"), id="wrapped"),
        pytest.param(MATRIX.replace("NODE\t0-15", "NO\nDE\t0-\n15"), id="wrapped inside cells"),
    ],
)
def test_what_happens_to_an_output_on_its_way_does_not_change_what_is_read(text: str) -> None:
    assert parse_topology_matrix(text).topology == WHOLE.topology


def test_rows_may_come_in_any_order() -> None:
    header, first, *others = MATRIX.splitlines()
    assert parse_topology_matrix("\n".join([header, *others, first])).topology == WHOLE.topology


def test_a_drawn_table_is_read_wherever_its_affinity_columns_stand() -> None:
    text = """
        | CPU Affinity | NUMA Affinity |      | GPU0 | GPU1 | NIC0 |
        |--------------|---------------|------|------|------|------|
        | 0-15         |               | GPU0 | X    | NV4  | SYS  |
        |              | 1             | GPU1 | NV4  | X    | PHB  |
        |              |               | NIC0 | SYS  | PHB  | X    |
    """
    dump = parse_topology_matrix(text)
    assert links(dump) == [["X", "NV4"], ["NV4", "X"]]
    assert dump.topology.nics[0].pcie == (PcieAncestor.SYS, PcieAncestor.PHB)
    assert [(gpu.cpu_affinity, gpu.numa_node) for gpu in dump.topology.gpus] == [("0-15", None), (None, 1)]


def test_old_names_are_read() -> None:
    """Drivers before 384 say SOC for SYS and name network cards by their device."""
    dump = parse_topology_matrix("\tGPU0\tGPU1\tmlx5_0\tbnxt_re1\nGPU0 X SOC PIX SOC\nGPU1 SOC X SOC PIX\n")
    assert links(dump) == [["X", "SYS"], ["SYS", "X"]]
    assert [nic.name for nic in dump.topology.nics] == ["mlx5_0", "bnxt_re1"]


@pytest.mark.parametrize(
    "text", ["\tGPU0\nGPU0\t X \n", MATRIX.splitlines()[0].replace("GPU1\tGPU2\t", "") + "\nGPU0 X PIX"]
)
def test_a_machine_with_one_gpu_is_read(text: str) -> None:
    topology = parse_topology_matrix(text).topology
    assert len(topology) == 1
    assert topology.nvswitch is None


@pytest.mark.parametrize(
    ("cells", "cpus", "numa_node"),
    [
        ("\t0-7\t1\t\tN/A", "0-7", 1),
        ("\t\t1\t\tN/A", None, 1),
        ("\t0-7\t\t\tN/A", "0-7", None),
        ("\t\t\t\tN/A", None, None),
        ("\tN/A\tN/A\t\tN/A", None, None),
        ("\t0-7\tN/A\t\tN/A", "0-7", None),
        ("\t0-7\t0-1\t\tN/A", "0-7", None),
        ("\t0-71\t0,5-11\t\t4", "0-71", None),
        ("\t0-71\t0\t\t4", "0-71", 0),
        ("  N/A", None, None),
        ("", None, None),
    ],
)
def test_affinity_cells_are_read_by_position(cells: str, cpus: str | None, numa_node: int | None) -> None:
    text = f"\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X {cells}\n"
    dump = parse_topology_matrix(text)
    assert (dump.topology.gpus[0].cpu_affinity, dump.topology.gpus[0].numa_node) == (cpus, numa_node)
    assert not [warning for warning in dump.warnings if "cannot be told apart" in warning]


@pytest.mark.parametrize("cells", ["   1   N/A", "\t0-150\t\tN/A", "\t0-150N/A", "   0-15   "])
def test_affinity_cells_that_cannot_be_told_apart_are_unknown_with_a_warning(cells: str) -> None:
    text = f"\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\nGPU0\t X {cells}\n"
    dump = parse_topology_matrix(text)
    assert (dump.topology.gpus[0].cpu_affinity, dump.topology.gpus[0].numa_node) == (None, None)
    assert "The CPU and NUMA cells of GPU0 cannot be told apart, so its affinity is unknown" in dump.warnings


@pytest.mark.parametrize(
    ("there", "back", "counts"),
    [
        ("NV6", "SYS", "SYS"),
        ("NV2", "NV1", "NV1"),
        ("NV9", "NV12", "NV9"),
        ("PIX", "NODE", "NODE"),
        ("PSB", "PIX", "PIX"),
    ],
)
def test_an_asymmetric_pair_counts_as_its_weaker_direction_with_a_warning(there: str, back: str, counts: str) -> None:
    for one, other in ((there, back), (back, there)):
        dump = parse_topology_matrix(f"\tGPU0\tGPU1\nGPU0 X {one}\nGPU1 {other} X\nNV# = NVLinks\n")
        assert links(dump) == [["X", counts], [counts, "X"]]
        assert dump.warnings == (
            f"GPU0 sees GPU1 over {one}, but GPU1 sees GPU0 over {other}: the pair counts as {counts}",
        )


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        (MATRIX, True),
        (MATRIX.replace("NV12", "PIX"), False),
        (MATRIX.replace("NV12", "PIX") + LEGEND, True),
        (MATRIX.replace("NV12", "PIX") + LEGEND.replace("NV#", "PSB"), False),
    ],
)
def test_nvlinks_may_be_left_out_unless_a_cell_or_the_legend_speaks_of_them(text: str, complete: bool) -> None:  # noqa: FBT001 - a column of the table
    dump = parse_topology_matrix(text)
    assert dump.topology.nvlinks_complete is complete
    assert bool(dump.warnings) is not complete


def test_one_model_is_that_of_all_gpus_and_several_are_one_each() -> None:
    assert {gpu.product for gpu in parse_topology_matrix(MATRIX, products="A40").topology.gpus} == {"A40"}
    several = parse_topology_matrix(MATRIX, products=["A", "B", "C"]).topology
    assert [gpu.product for gpu in several.gpus] == ["A", "B", "C"]
    assert {gpu.product for gpu in WHOLE.topology.gpus} == {None}


def test_as_many_models_as_gpus_are_required() -> None:
    with pytest.raises(DumpError, match="shows 3 GPUs, but 2 GPU models are given"):
        parse_topology_matrix(MATRIX, products=["A", "B"])


@pytest.mark.parametrize(
    ("text", "line", "cell", "problem"),
    [
        pytest.param("", None, None, "no header line", id="empty"),
        pytest.param(MATRIX.split("\n", 1)[1], 1, "GPU0 X NV12 SYS PIX 0-15 0 N/A", "without a header", id="no header"),
        pytest.param(MATRIX.replace("GPU2\tSYS", "2\tSYS"), 3, "GPU2", "without a row", id="row missing"),
        pytest.param(MATRIX[: MATRIX.index(" X \tSYS\t16")], 4, "GPU2", "before the column of GPU2", id="cut in a row"),
        pytest.param(MATRIX[: MATRIX.index("\nGPU2")], 3, "GPU2", "without a row", id="cut between rows"),
        pytest.param(MATRIX.replace("\tGPU2\t", "\t"), 4, "GPU2", "has a row but no column", id="column missing"),
        pytest.param(MATRIX.replace("GPU1\tGPU2", "GPU2\tGPU1"), 1, "GPU0 GPU2", "in order", id="columns swapped"),
        pytest.param(MATRIX.replace("GPU NUMA ID", "NUMA"), 1, "GPU0 GPU1", "each once", id="column twice"),
        pytest.param(MATRIX.replace("NIC0\tC", "Fabric\tC"), 1, "Fabric", "is not a column", id="unknown column"),
        pytest.param(MATRIX + "\n" + MATRIX, 7, "\tGPU0", "second matrix", id="two matrices"),
        pytest.param(MATRIX + "GPU1\tSYS\t X \tPXB\tNODE\n", 6, "GPU1 SYS", "second row of GPU1", id="row twice"),
        pytest.param(MATRIX.replace("NV12\tSYS", "OK\tSYS"), 2, "OK", "topo -p2p", id="p2p status"),
        pytest.param(MATRIX.replace("NV12\tSYS", "NVL\tSYS"), 2, "NVL", "row of GPU0 .* link to GPU1", id="garbled"),
        pytest.param(MATRIX.replace("NV12\tSYS", "\tSYS"), 2, "0-15", "link to NIC0", id="cell empty"),
        pytest.param(MATRIX.replace("NV12\tSYS", "NV0\tSYS"), 2, "NV0", "is not a link", id="no links"),
        pytest.param(MATRIX.replace("GPU1\tNV12\t X ", "GPU1\t X \tNV12"), 3, "X", "cannot be right", id="X misplaced"),
        pytest.param(MATRIX.replace("\tNODE\t", "\tNV4\t"), 3, "NV4", "column of NIC0", id="NVLink to a NIC"),
        pytest.param(
            MATRIX.replace("\tNODE\t", "\tNODE\tNODE\t"), 3, "NODE", "after the last link", id="cell too many"
        ),
        pytest.param(MATRIX.replace("\tN/A", "\tN/A\t7", 1), 2, "7", "after the last link", id="affinity too many"),
    ],
)
def test_what_cannot_be_read_without_guessing_is_refused_with_line_and_cell(
    text: str, line: int | None, cell: str | None, problem: str
) -> None:
    with pytest.raises(DumpError, match=problem) as refusal:
        parse_topology_matrix(text)
    assert refusal.value.line == line
    assert (refusal.value.cell or "").startswith((cell or "").strip())
    assert "\n" not in str(refusal.value)


def test_a_refusal_shows_only_the_beginning_of_a_long_cell() -> None:
    refusal = refusal_of(MATRIX.replace("NV12\tSYS", "NO" * 1000 + "\tSYS"))
    assert refusal.cell == ("NO" * 19)[:37] + "..."
    assert len(str(refusal)) < 150


def test_links_glued_to_a_number_are_not_guessed_apart() -> None:
    """NV1 before CPU 2, or NV12 before no CPU?"""
    refusal = refusal_of("\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tNV12-9\nGPU1\tNV1\t X \t2-9\n")
    assert refusal.cell == "NV12-9"


MEBIBYTE = 1 << 20


@pytest.mark.timeout(60)  # seconds; these take one or two, and hours where the time grows with the square of the length
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(start + unit * (MEBIBYTE // len(unit)) + end, id=f"{start[:5]!r} {unit!r} {end!r}")
        for start, end in (("", ""), ("GPU0 GPU1 ", "!"), ("GPU0 GPU1\nGPU0 X ", "x"), ("GPU0 GPU1\nGPU0 X NV1 ", "x"))
        for unit in (" ", "\n", "a1 ", "\n a1", "SYS", "\nSYS", "0 ", "|", "GPU0 ")
    ],
)
def test_a_mebibyte_of_anything_is_refused_in_time_that_grows_with_its_length(text: str) -> None:
    assert str(refusal_of(text))
