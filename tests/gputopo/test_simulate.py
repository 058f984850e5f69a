"""`gputopo simulate`: from machines and jobs to a sentence."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from gpu_topology.contract import TOPOLOGY_ANNOTATION, Allocation, encode_topology
from gputopo.live_nodes import live_nodes
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import node
from tests.control_plane.parts import agents
from tests.gputopo.conftest import Command
from topology_agent.profiles import load_machine

TRACE = "arrival_s,duration_s,gpus\n0,100,2\n5,100,4\n10,50,1\n20,70,2\n"


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    file = tmp_path / "ours.yaml"
    file.write_text("nodes: {dgx-1v: 1, pcie-8: 1}")
    return file


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "jobs.csv"
    file.write_text(TRACE)
    return file


def test_the_answer_ends_with_what_would_be_gained(gputopo: Command, nodes: Path, trace: Path) -> None:
    """The jobs of the trace run on the machines of the file; the bar is not part of the answer."""
    outcome = gputopo("simulate", "--nodes", nodes, "--trace", trace, "--seeds", 2, "--policy", "extender-best")

    assert outcome.status == 0
    assert "the jobs of jobs.csv" in outcome.output
    assert "vendor" in outcome.output
    assert outcome.output.splitlines()[-1].startswith("extender-best: ")
    assert "with 95 % confidence" in outcome.output.splitlines()[-1]


def test_all_is_written_for_programs_and_people(gputopo: Command, nodes: Path, tmp_path: Path) -> None:
    """Two loads, one seed: three files, and one JSON document instead of tables."""
    arguments = ["--jobs", "philly", "--count", 20, "--loads", "0.9,0.5", "--seeds", 1, "--output", tmp_path / "out"]
    outcome = gputopo("simulate", "--nodes", nodes, *arguments, "--json")

    assert [comparison["load"] for comparison in outcome.document] == [0.5, 0.9]
    assert [gain["policy"] for gain in outcome.document[0]["gains"]] == ["extender-best", "extender"]
    assert orjson.loads((tmp_path / "out" / "results.json").read_bytes()) == outcome.document
    assert (
        (tmp_path / "out" / "results.csv").read_text().startswith("workload,load,policy,seed,figure,value\nours,0.5,")
    )
    assert "Waiting time against load" in (tmp_path / "out" / "index.html").read_text()
    assert outcome.errors.count("written: ") == 3


@pytest.mark.parametrize(
    ("jobs", "sentence"),
    [
        (["--trace", "absent.csv"], "absent.csv cannot be read: No such file or directory"),
        (["--trace", "bad.csv"], "bad.csv, line 3: duration_s is 'soon', which is not a number"),
        (["--trace", "huge.csv"], "huge.csv, line 2: the job asks for 17 GPUs, but the cluster has 16"),
        (["--jobs", "guess"], "jobs cannot be made up as in 'guess', only as in itp, philly"),
        (["--jobs", "itp", "--policy", "guess"], "there is no policy 'guess': the policies are extender-best"),
        (["--trace", "once.csv", "--loads", "0.5"], "a load needs jobs that arrive over some time"),
        (["--trace", "jobs.csv", "--output", "jobs.csv"], "jobs.csv cannot be written: File exists"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_played_is_one_sentence_and_status_1(
    gputopo: Command, nodes: Path, monkeypatch: pytest.MonkeyPatch, jobs: list[str], sentence: str
) -> None:
    monkeypatch.chdir(nodes.parent)
    head = TRACE.splitlines()[0]
    Path("jobs.csv").write_text(TRACE)
    Path("bad.csv").write_text(f"{head}\n1,1,1\n1,soon,1\n")
    Path("huge.csv").write_text(f"{head}\n1,1,17\n")
    Path("once.csv").write_text(f"{head}\n1,1,1\n")

    outcome = gputopo("simulate", "--nodes", nodes, *jobs)

    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.errors.startswith("gputopo: ")
    assert sentence in outcome.errors
    assert len(outcome.errors.splitlines()) == 1


def test_an_unknown_machine_is_named_with_those_that_there_are(gputopo: Command, nodes: Path) -> None:
    nodes.write_text("nodes: {abacus: 1}")

    outcome = gputopo("simulate", "--nodes", nodes, "--jobs", "itp")

    assert outcome.status == 1
    assert outcome.errors.startswith("gputopo: abacus is neither a readable file nor a machine profile: those are ")


def test_other_commands_load_neither_the_simulator_nor_the_kubernetes_client() -> None:
    """Which would take them half a second."""
    program = "import sys, gputopo.__main__; print({'simulator', 'kubernetes', 'matplotlib'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


def test_nodes_whose_links_are_not_known_are_told_apart_from_those_without_gpus() -> None:
    machine = encode_topology(load_machine("dgx-1v"))
    found = live_nodes(
        [
            {"metadata": {"name": "cpu"}, "status": {"allocatable": {"cpu": "8"}}},
            {"metadata": {"name": "bare"}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}},
            {"metadata": {"name": "broken", "annotations": {TOPOLOGY_ANNOTATION: "{"}}},
            {"metadata": {"name": "good", "annotations": {TOPOLOGY_ANNOTATION: machine}}},
        ]
    )

    assert list(found.machines) == ["good"]
    assert found.unknown["bare"] == f"has no annotation {TOPOLOGY_ANNOTATION}"
    assert list(found.unknown) == ["bare", "broken"]


def test_the_machines_of_a_running_cluster_are_what_its_agents_have_published(
    gputopo: Command, control_plane: ControlPlane, kubernetes_client: Client, tmp_path: Path, trace: Path
) -> None:
    """A real API server: two nodes whose agents are simulated, and one with GPUs that has no agent."""
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("nodes: [{name: fast, machine: hgx-h100}, {name: slow, machine: pcie-8}]")
    for name in ("fast", "slow", "bare"):
        kubernetes_client.create(node(name, gpus=8))
    with agents(control_plane, fleet, Allocation.VENDOR):
        cluster = ["--cluster", "--kubeconfig", control_plane.kubeconfig()]
        outcome = gputopo("simulate", *cluster, "--trace", trace, "--seeds", 1)

    assert outcome.status == 0
    assert "the running cluster" in outcome.output
    assert "GPU nodes that are left out: 1: bare: has no annotation" in outcome.errors


def test_a_cluster_without_agents_is_refused(
    gputopo: Command, control_plane: ControlPlane, kubernetes_client: Client, trace: Path
) -> None:
    kubernetes_client.create(node("bare", gpus=8))

    outcome = gputopo("simulate", "--cluster", "--kubeconfig", control_plane.kubeconfig(), "--trace", trace)

    assert outcome.status == 1
    assert "no node of the cluster has a usable annotation" in outcome.errors
