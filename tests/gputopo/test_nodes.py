"""`gputopo nodes` and `gputopo node`, by the overview of an extender."""

import re
from datetime import UTC, datetime

import orjson
import pytest

from extender.ledger import Ledger
from extender.overview import overview_of
from gputopo.node import lines_about
from gputopo.nodes import node_lines
from tests.extender.builders import bare_node, node, pod, switched
from tests.extender.test_dra import claimed, ledger_of, without_plugin
from tests.gputopo.answering import answering
from tests.gputopo.clusters import hostile, mixed, overview
from tests.gputopo.conftest import Command, Outcome

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ask(gputopo: Command, *arguments: object, ledger: Ledger | None = None) -> Outcome:
    """What a command says about a cluster, which is the mixed one if none is given."""
    with answering(200, overview(ledger or mixed())) as (url, _):
        return gputopo(*arguments, "--url", url)


def cells(line: str) -> list[str]:
    """The cells of a line of a list."""
    return re.split(r"  +", line.strip())


def first_column(outcome: Outcome) -> list[str]:
    """The names in a list, without its heading and its sum."""
    return [cells(line)[0] for line in outcome.output.splitlines()[1:-1]]


def test_each_node_says_what_it_is_what_is_free_and_what_is_wrong(gputopo: Command) -> None:
    """Nodes without GPUs are left out."""
    outcome = ask(gputopo, "nodes")
    assert outcome.status == 0
    assert [cells(line) for line in outcome.output.splitlines()] == [
        ["NODE", "MODEL", "LINKS", "FREE", "LARGEST FREE SET", "STATE", "NOTES"],
        [
            *("bridge", "NVIDIA RTX A6000", "nvlink-pairs", "0/4", "-", "known, suspect"),
            "3 GPU pods failed here; GPU 1: XID 79; GPU 3: cordoned by gpu-scheduler/cordon",
        ],
        [
            *("cut", "NVIDIA H100 80GB HBM3", "nvswitch", "7/8", "7 GPUs, 376.2 GB/s", "known"),
            "5/7 nvidia.com/mig-1g.10gb free",
        ],
        ["silent", "?", "?", "?/4", "?", "no-topology", "the node has no annotation gpu-scheduler/topology"],
        ["switch", "NVIDIA H100 80GB HBM3", "nvswitch", "2/8", "2 GPUs, 376.2 GB/s", "known"],
        ["4 nodes, 24 GPUs: 9 free, 8 held, 1 sliced, 1 unhealthy, 1 cordoned, 4 unknown"],
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--model", "h100"], ["cut", "switch"]),
        (["--links", "nvlink-pairs"], ["bridge"]),
        (["--free", "2"], ["cut", "switch"]),
        (["--free", "3"], ["cut"]),
        (["--unhealthy"], ["bridge", "silent"]),
        (["--model", "h100", "--free", "3"], ["cut"]),
        (["--sort", "name"], ["bridge", "cut", "silent", "switch"]),
        (["--sort", "free"], ["cut", "switch", "bridge", "silent"]),
        (["--sort", "bandwidth"], ["cut", "switch", "bridge", "silent"]),
        (["--sort", "model"], ["silent", "cut", "switch", "bridge"]),
        (["--sort", "state"], ["bridge", "silent", "cut", "switch"]),
    ],
    ids=" ".join,
)
def test_nodes_are_chosen_and_sorted(gputopo: Command, options: list[str], names: list[str]) -> None:
    assert first_column(ask(gputopo, "nodes", *options)) == names


def test_where_no_node_is_like_that_the_status_is_1(gputopo: Command) -> None:
    outcome = ask(gputopo, "nodes", "--model", "abacus")
    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.errors == "none of 4 GPU nodes is like that\n"
    as_json = ask(gputopo, "nodes", "--model", "abacus", "--json")
    assert as_json.status == 1
    assert (as_json.document["nodes"], as_json.document["topologies"]) == ([], {})


def test_a_program_reads_the_overview_of_the_chosen_nodes_and_their_sum(gputopo: Command) -> None:
    document = ask(gputopo, "nodes", "--links", "nvlink-pairs", "--json").document
    served = orjson.loads(overview(mixed()))
    assert document["nodes"] == [each for each in served["nodes"] if each["name"] == "bridge"]
    assert list(document["topologies"]) == [document["nodes"][0]["topology"]]
    assert document["totals"] == {
        "nodes": 1,
        "unknown_nodes": 0,
        "gpus": 4,
        "free": 0,
        "held": 2,
        "sliced": 0,
        "unhealthy": 1,
        "cordoned": 1,
        "unknown": 0,
    }


def test_how_long_agents_have_been_silent_is_shown_where_it_is_known() -> None:
    document = overview_of(mixed())
    seen = {"bridge": "2026-01-01T11:59:20.000000Z", "cut": "2026-01-01T09:00:00Z", "switch": ""}
    lines = [*node_lines(document["nodes"][:2], document["topologies"], NOW, seen)]
    assert "AGENT SEEN" in lines[0]
    assert [cells(line)[6] for line in lines[1:3]] == ["40s", "3h"]
    unknown = [*node_lines(document["nodes"], document["topologies"], NOW, {})]
    assert "AGENT SEEN" not in unknown[0]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_narrow_terminal_still_shows_every_name_in_full(width: int) -> None:
    document = overview_of(mixed())
    nodes = [each for each in document["nodes"] if each["name"] != "office"]
    lines = [*node_lines(nodes, document["topologies"], NOW, width=width)]
    assert [line.split()[0].removeprefix("\x1b[1m") for line in lines[1:-1]] == [each["name"] for each in nodes]
    assert width < 120 or all(len(re.sub(r"\x1b\[\d+m", "", line)) <= width for line in lines)


def test_thousands_of_nodes_are_one_list() -> None:
    ledger = Ledger()
    template = node("n", switched(8))
    ledger.replace_nodes({**template, "metadata": {**template["metadata"], "name": f"n{at}"}} for at in range(5000))
    document = overview_of(ledger)
    lines = [*node_lines(document["nodes"], document["topologies"], NOW)]
    assert len(lines) == 5002
    assert lines[-1] == "5000 nodes, 40000 GPUs: 40000 free"


def test_a_cluster_without_gpus_is_told_so_with_status_2(gputopo: Command) -> None:
    """Else an empty list would look as if all were well."""
    ledger = Ledger()
    ledger.apply_node(bare_node("office", gpus=0))
    outcome = ask(gputopo, "nodes", ledger=ledger)
    assert (outcome.status, outcome.output) == (2, "")
    assert outcome.errors.startswith("gputopo: none of the cluster's 1 nodes has GPUs by its kubelet or its agent")


def test_an_extender_that_shows_no_cluster_is_named_with_status_2(gputopo: Command) -> None:
    with answering(200, b'{"detail": "hello"}') as (url, _):
        outcome = gputopo("nodes", "--url", url)
    assert (outcome.status, outcome.output) == (2, "")
    assert "is no extender that shows its cluster" in outcome.errors


def test_one_node_is_shown_gpu_by_gpu(gputopo: Command) -> None:
    lines = ask(gputopo, "node", "switch").output.splitlines()
    assert lines[:3] == [
        "switch: 8 GPUs, NVIDIA H100 80GB HBM3, links: nvswitch",
        "free: 2/8; the largest free set: 2 GPUs, 376.2 GB/s",
        "state: known",
    ]
    gpus = [cells(line) for line in lines[5:14]]
    assert gpus[0] == ["GPU", "STATE", "POD", "HOW SURE", "NOTE", "NUMA", "UUID"]
    assert gpus[1] == ["0", "held", "team/trainer", "known", "-", "?", "GPU-0"]
    assert gpus[5] == ["4", "held", "team/next", "expected", "-", "?", "GPU-4"]
    assert gpus[7] == ["6", "free", "-", "-", "-", "?", "GPU-6"]
    assert cells(lines[15]) == ["LINKS", *(f"GPU{gpu}" for gpu in range(8))]
    assert cells(lines[17]) == ["GPU1", "NV18", "X", *["NV18"] * 6]
    assert [cells(line) for line in lines[25:27]] == [["FREE SET OF", "GPUS", "GB/S"], ["2", "6, 7", "376.2"]]
    assert [cells(line)[:6] for line in lines[29:]] == [
        ["team/next", "switch", "4,5", "expected", "376.2", "376.2"],
        ["team/trainer", "switch", "0,1,2,3", "known", "376.2", "376.2"],
    ]


def test_what_is_wrong_with_a_node_is_said_in_full(gputopo: Command) -> None:
    output = ask(gputopo, "node", "bridge").output
    assert "standing: 3 GPU pods failed here\n" in output
    assert re.search(r"1 +unhealthy +- +- +XID 79 ", output)
    assert re.search(r"3 +cordoned +- +- +cordoned by gpu-scheduler/cordon ", output)


def test_of_an_unknown_node_the_problem_is_said_and_nothing_is_made_up(gputopo: Command) -> None:
    lines = ask(gputopo, "node", "silent").output.splitlines()
    assert lines[:3] == [
        "silent: 4 GPUs, ?, links: ?",
        "state: no-topology",
        "problem: the node has no annotation gpu-scheduler/topology",
    ]
    assert cells(lines[-1])[:6] == ["team/hidden", "silent", "? (3 GPUs)", "unknown", "?", "-"]


def test_a_program_reads_one_node_with_its_machine(gputopo: Command) -> None:
    document = ask(gputopo, "node", "bridge", "--json").document
    assert document["machine"]["interconnect"] == "nvlink-pairs"
    assert [gpu["state"] for gpu in document["gpus"]] == ["held", "unhealthy", "held", "cordoned"]


@pytest.mark.parametrize("name", ["nowhere", "office"])
def test_a_node_that_is_not_there_or_has_no_gpus_is_status_1(gputopo: Command, name: str) -> None:
    outcome = ask(gputopo, "node", name)
    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.errors == f"gputopo: the cluster has no GPU node {name}\n"


def test_nodes_of_a_dra_driver_are_shown_where_pods_have_gpus_there(gputopo: Command) -> None:
    ledger = ledger_of(without_plugin("driver"), without_plugin("idle"))
    ledger.apply_pod(claimed(pod(gpus=2, on="driver"), "c0"))
    assert first_column(ask(gputopo, "nodes", ledger=ledger)) == ["driver"]
    assert cells(ask(gputopo, "node", "driver", ledger=ledger).output.splitlines()[-1])[2:4] == [
        "2 GPUs by DRA",
        "by DRA",
    ]


@pytest.mark.parametrize(
    "command", [["nodes"], ["node", "victim"], ["node", "stale"], ["pods"], ["top", "--once"], ["top", "--by", "node"]]
)
def test_what_others_wrote_into_annotations_cannot_colour_or_move_the_output(
    gputopo: Command, command: list[str]
) -> None:
    answers = {"/v1/cluster": overview(hostile()), "/v1/pods": b'{"pods": []}'}
    with answering(200, answers) as (url, _):
        outcome = gputopo(*command, "--url", url)
    assert outcome.status == 0
    assert all(line.isprintable() for line in outcome.output.split("\n"))
    assert "[bold]" in outcome.output or command[0] == "top"


def test_a_name_that_is_typed_is_shown_as_harmlessly(gputopo: Command) -> None:
    assert ask(gputopo, "node", "\x1b[31mred").errors == "gputopo: the cluster has no GPU node \\x1b[31mred\n"


def test_parts_whose_gpu_is_not_known_are_told() -> None:
    document = overview_of(mixed())
    cut = next(each for each in document["nodes"] if each["name"] == "cut")
    pools = [{"resource": "nvidia.com/gpu.shared", "total": 4, "free": 1}]
    lines = [*lines_about({**cut, "slices": pools}, document["topologies"], NOW)]
    assert "parts whose GPU is not known: 1/4 nvidia.com/gpu.shared free" in lines
