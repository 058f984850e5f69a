"""`python -m topology_agent` as a program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_topology.contract import check_state, decode_state, decode_topology
from tests.topology_agent.test_fleet import DUMP

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "topology_agent"]


def agent(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_once_print_shows_what_would_be_published() -> None:
    done = agent("--once", "--print", "--machine", "dgx-1v", NODE_NAME="n")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["node"] == "n"
    topology, state = (json.dumps(document) for document in answer["annotations"].values())
    assert decode_state(state).free == tuple(range(8))
    assert decode_topology(topology).gpus[0].product == "Tesla V100-SXM2-32GB"


def test_the_printed_state_speaks_of_the_printed_topology() -> None:
    """Printed as compact as it is published, so that the hash is of what a reader sees."""
    done = agent("--once", "--print", "--machine", "ac922", "--node-name", "n")
    annotations = json.loads(done.stdout)["annotations"]
    topology, state = (json.dumps(document, separators=(",", ":")) for document in annotations.values())
    check_state(decode_state(state), decode_topology(topology), topology)


def test_a_dump_with_its_product_is_printed_too(tmp_path: Path) -> None:
    (tmp_path / "topo.txt").write_text(DUMP)
    done = agent("--once", "--print", "--dump", str(tmp_path / "topo.txt"), "--product", "NVIDIA A40", NODE_NAME="n")
    devices = json.loads(done.stdout)["annotations"]["gpu-scheduler/topology"]["devices"]
    assert [device["product"] for device in devices] == ["NVIDIA A40", "NVIDIA A40"]


def test_many_nodes_are_one_line_each(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("nodes: [{name: 'n{}', count: 3, machine: dgx-2}]")
    done = agent("--once", "--print", "--simulate", str(tmp_path / "fleet.yaml"))
    assert [json.loads(line)["node"] for line in done.stdout.splitlines()] == ["n0", "n1", "n2"]


@pytest.mark.parametrize(
    "arguments",
    [["--nonsense"], ["--node-name", "n", "--machine", "dgx-9"], ["--node-name", "n", "--poll-seconds", "x"]],
)
def test_a_bad_setting_is_one_line_on_stderr_and_exit_status_2(arguments: list[str]) -> None:
    done = agent(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_kubelet_that_is_not_there_is_shown_as_unknown(tmp_path: Path) -> None:
    socket = str(tmp_path / "none.sock")
    done = agent(
        "--once",
        "--print",
        "--machine",
        "ac922",
        "--occupancy",
        "kubelet",
        "--pod-resources-socket",
        socket,
        NODE_NAME="n",
    )
    state = json.loads(done.stdout)["annotations"]["gpu-scheduler/state"]
    assert state["free"] is None
    assert "none.sock is not there" in state["stale"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_agent_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """Also while the API server cannot be reached, which it tries for ever."""
    (tmp_path / "kubeconfig").write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
        " clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {token: t}}]}"
    )
    arguments = ["--node-name", "n", "--machine", "dgx-1v", "--kubeconfig", str(tmp_path / "kubeconfig")]
    with subprocess.Popen([*PROGRAM, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "API server does not serve us" in process.stderr.readline()
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 0
    assert "told to end" in rest
    assert "Traceback" not in rest
