"""The commands straight from a real API server, beside a real extender, and by way of the real kubectl."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gpu_topology.cordon import CORDONED
from gputopo import __main__ as command_line
from tests.control_plane import objects
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.kubeconfig import write_kubeconfig
from tests.control_plane.parts import extender
from tests.extender.builders import bridged, holder, node, switched
from tests.gputopo.conftest import Command
from tests.gputopo.terminal import terminal
from tests.manifests.files import REPOSITORY, fenced_blocks, kubectl

NAMESPACE = "team"
AGENTS = "gpu-topology-agent"
READER = "operator"
PLUGIN = "from gputopo.__main__ import kubectl_main; kubectl_main()"
RIGHTS = [
    block for block in fenced_blocks(REPOSITORY / "docs" / "gputopo.md", "yaml") if "kind: ClusterRole\n" in block
]


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """Three GPU nodes and one without; pods that have GPUs, that wait, and that have failed; an agent's lease."""
    client = control_plane.client
    client.apply(
        [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (NAMESPACE, AGENTS)]
    )
    made = [
        node("bridge", bridged(4), held=[holder("apart", [0, 2])], unhealthy={3: CORDONED}),
        node("switch", switched(8), held=[holder("trainer", [0, 1, 2, 3])]),
    ]
    for each in made:
        annotations, gpus = each["metadata"]["annotations"], int(each["status"]["allocatable"]["nvidia.com/gpu"])
        client.create(objects.node(each["metadata"]["name"], gpus=gpus, annotations=annotations))
    client.create(objects.node("silent", gpus=4))
    client.create(objects.node("office"))
    for name, gpus, on in (
        ("apart", 2, "bridge"),
        ("trainer", 4, "switch"),
        ("next", 2, "switch"),
        ("web", 0, "office"),
    ):
        _bind(control_plane, name, gpus, on)
    client.create(_pod("huge", 16))
    client.create(_pod("idle", 0))
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes are available."}
    client.patch("Pod", "huge", {"status": {"conditions": [said]}}, NAMESPACE, subresource="status")
    for number in range(5):
        _bind(control_plane, f"failed-{number}", 1, "silent", phase="Failed", reason="UnexpectedAdmissionError")
    spec = {"holderIdentity": "switch", "leaseDurationSeconds": 180, "renewTime": f"{datetime.now(UTC):%FT%T.000000Z}"}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "switch", "namespace": AGENTS},
    }
    client.apply([{**lease, "spec": spec}])
    yield control_plane
    client.delete("Lease", "switch", AGENTS, api_version="coordination.k8s.io/v1")
    client.delete_all("Pod")
    client.delete_all("Node")


@pytest.fixture
def straight(cluster: ControlPlane, gputopo: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`gputopo` as the cluster's administrator, whose kubeconfig is where kubectl looks for it."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
    return gputopo


def test_the_nodes_are_shown_without_any_extender(straight: Command) -> None:
    outcome = straight("nodes")
    assert (outcome.status, outcome.errors) == (0, "")
    rows = [re.split(r"  +", line.strip()) for line in outcome.output.splitlines()]
    assert rows[0] == ["NODE", "MODEL", "LINKS", "FREE", "LARGEST FREE SET", "STATE", "AGENT SEEN", "NOTES"]
    assert rows[1] == [
        *("bridge", "NVIDIA RTX A6000", "nvlink-pairs", "1/4", "1 GPU", "known", "?"),
        "GPU 3: cordoned by gpu-scheduler/cordon",
    ]
    assert rows[2][:6] == ["silent", "?", "?", "?/4", "?", "no-topology, left-out"]
    assert "5 GPU pods" in rows[2][-1]
    assert rows[3][:6] == ["switch", "NVIDIA H100 80GB HBM3", "nvswitch", "2/8", "2 GPUs, 376.2 GB/s", "known"]
    assert re.fullmatch(r"\d+[sm]", rows[3][6])
    assert rows[4] == ["3 nodes, 16 GPUs: 3 free, 8 held, 1 cordoned, 4 unknown"]


def test_the_pods_are_shown_and_those_that_wait_with_their_reason(straight: Command) -> None:
    document = straight("pods", "--json").document
    assert [(each["pod"], each["gpus"], each["basis"]) for each in document["pods"]] == [
        ("team/apart", [0, 2], "reported"),
        ("team/next", [4, 5], "enforced"),
        ("team/trainer", [0, 1, 2, 3], "reported"),
    ]
    [huge] = document["waiting"]
    assert (huge["pod"], huge["asks_for"], huge["scheduler"]) == ("team/huge", 16, "gpu-scheduler")
    assert huge["reason"] == "0/4 nodes are available."
    assert straight("pods", "--pending", "-n", NAMESPACE).output.splitlines()[1].startswith("team/huge  16 GPUs  ")


def test_an_extender_and_the_api_server_give_the_same_view(straight: Command, cluster: ControlPlane) -> None:
    """Nodes, pods, one node, the summary; and the judgement of a pod that waits."""
    serving = extender(cluster)
    with serving.process:
        asking = {"Pod": cluster.client.get("Pod", "huge", NAMESPACE), "Nodes": None, "NodeNames": ["switch"]}
        httpx.post(f"{serving.url}/filter", json=asking, trust_env=False).raise_for_status()
        by_extender, by_api = (
            {
                "nodes": straight("nodes", "--json", *source).document,
                "node": straight("node", "bridge", "--json", *source).document,
                "pods": straight("pods", "--json", *source).document["pods"],
                "top": straight("top", "--json", *source).document,
                "explain": straight("explain", "team/huge", "--json", *source).document,
            }
            for source in (["--url", serving.url], [])
        )
    assert by_api["nodes"].pop("agents_seen").keys() == {"switch"}
    by_extender["nodes"].pop("agents_seen")
    assert by_api["explain"].pop("said") == "0/4 nodes are available."
    assert by_api["explain"].pop("scheduler") == "gpu-scheduler"
    for explanation in (by_api["explain"], by_extender["explain"]):
        del explanation["judged_at"], explanation["last_filter"]
    assert by_api == by_extender


def test_a_pod_is_explained_that_no_extender_was_asked_about(straight: Command) -> None:
    lines = straight("explain", "team/huge").output.splitlines()
    assert lines[0] == "team/huge asks for 16 GPUs"
    assert "    1 node (office): the kubelet offers 0 GPUs, 16 asked for" in lines
    assert lines[-2:] == [
        "what gpu-scheduler says of it: 0/4 nodes are available",
        "what the extender answered last, it alone knows: ask it with --url",
    ]


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [("team/nobody", 'pods "nobody" not found'), ("team/idle", "team/idle asks for no GPU")],
)
def test_a_pod_that_is_not_there_or_wants_no_gpu_is_status_1(straight: Command, pod: str, sentence: str) -> None:
    outcome = straight("explain", pod)
    assert (outcome.status, outcome.output, outcome.errors) == (1, "", f"gputopo: {sentence}\n")


def test_top_follows_the_cluster_until_ctrl_c(cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """By watches: what changes is there at the next look."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
    with terminal("top", "--every", "1") as shown:
        shown.wait_for("3 free, 8 held")
        _bind(cluster, "late", 2, "switch")
        shown.wait_for("1 free, 10 held")
        assert shown.interrupt() == 0
    cluster.client.delete("Pod", "late", NAMESPACE)
    assert "Traceback" not in shown.text


@pytest.mark.parametrize("command", [["nodes"], ["node", "a"], ["pods"], ["top"], ["explain", "a/b"]], ids=" ".join)
class TestWhereNobodyCanBeAsked:
    """One sentence, and status 2."""

    def test_without_a_kubeconfig(
        self, gputopo: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
        _is_refused(gputopo(*command), "no kubeconfig: KUBECONFIG names no file that exists")
        _is_refused(gputopo(*command, "--kubeconfig", tmp_path / "absent"), "there is no such file")

    def test_with_a_foreign_context(self, straight: Command, command: list[str]) -> None:
        _is_refused(straight(*command, "--context", "elsewhere"), "no usable credentials", "elsewhere")

    def test_with_an_api_server_that_is_away(self, gputopo: Command, tmp_path: Path, command: list[str]) -> None:
        kubeconfig = tmp_path / "kubeconfig"
        write_kubeconfig(kubeconfig, server="http://127.0.0.1:1", authority=tmp_path, credentials={"token": "none"})
        _is_refused(
            gputopo(*command, "--kubeconfig", kubeconfig), "the API server at http://127.0.0.1:1 cannot be reached"
        )

    def test_without_the_right(self, cluster: ControlPlane, gputopo: Command, command: list[str]) -> None:
        """The API server itself says which one."""
        kubeconfig = cluster.kubeconfig("nobody")
        outcome = gputopo(*command, "--kubeconfig", kubeconfig)
        _is_refused(outcome, 'the API server refuses: nodes is forbidden: User "nobody" cannot list resource "nodes"')


def test_a_token_that_is_not_known_is_said(cluster: ControlPlane, gputopo: Command, tmp_path: Path) -> None:
    admin = yaml.safe_load(cluster.kubeconfig().read_text())
    admin["users"][0]["user"] = {"token": "forged"}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(admin))
    _is_refused(gputopo("nodes", "--kubeconfig", kubeconfig), "does not know these credentials")


def test_the_rights_in_the_documentation_are_enough(cluster: ControlPlane, gputopo: Command) -> None:
    [manifests] = RIGHTS
    cluster.client.apply(manifests)
    kubeconfig = cluster.kubeconfig(READER)
    nodes = gputopo("nodes", "--json", "--kubeconfig", kubeconfig)
    assert (nodes.status, nodes.errors) == (0, "")
    assert nodes.document["agents_seen"].keys() == {"switch"}
    for command in (["pods"], ["explain", "team/huge"], ["top"]):
        assert gputopo(*command, "--kubeconfig", kubeconfig).status == 0


def test_without_the_rights_that_may_be_missing_the_nodes_are_shown_too(
    cluster: ControlPlane, gputopo: Command
) -> None:
    role, binding = yaml.safe_load_all(RIGHTS[0])
    role["metadata"]["name"] = binding["metadata"]["name"] = binding["roleRef"]["name"] = "gputopo-core"
    role["rules"] = [rule for rule in role["rules"] if rule["apiGroups"] == [""]]
    binding["subjects"][0]["name"] = "novice"
    cluster.client.apply([role, binding])
    nodes = gputopo("nodes", "--json", "--kubeconfig", cluster.kubeconfig("novice"))
    assert (nodes.status, nodes.errors, nodes.document["agents_seen"]) == (0, "", {})


def test_kubectl_finds_the_plugin_and_hands_it_everything(cluster: ControlPlane, tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-gputopo"
    plugin.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{PLUGIN}' \"$@\"\n")
    plugin.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "KUBECONFIG": str(cluster.kubeconfig()),
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [kubectl(), *arguments], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
        )

    assert str(plugin) in run("plugin", "list").stdout
    listed = run("gputopo", "nodes", "--links", "nvswitch")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[1].startswith("switch ")
    assert "Usage: kubectl gputopo pods [OPTIONS]" in run("gputopo", "pods", "--help").stdout
    assert run("gputopo", "nodes", "--model", "abacus").returncode == 1


def test_the_plugin_is_installed_under_the_name_that_kubectl_looks_for() -> None:
    scripts: Mapping[str, str] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["kubectl-gputopo"].split(":")
    assert module == command_line.__name__
    assert getattr(command_line, function) is command_line.kubectl_main


def _pod(name: str, gpus: int) -> dict[str, Any]:
    return objects.pod(name, gpus=gpus, namespace=NAMESPACE, scheduler_name="gpu-scheduler")


def _bind(control_plane: ControlPlane, name: str, gpus: int, on: str, **status: Any) -> None:
    """A pod on a node, as a scheduler and the kubelet would leave it."""
    bound = _pod(name, gpus)
    bound["spec"]["nodeName"] = on
    bound["metadata"]["ownerReferences"] = [_owner(name)]
    control_plane.client.create(bound)
    if status:
        status = {**status, "startTime": f"{datetime.now(UTC):%FT%TZ}"}
        control_plane.client.patch("Pod", name, {"status": status}, NAMESPACE, subresource="status")


def _owner(name: str) -> dict[str, Any]:
    return {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": f"uid-of-{name}", "controller": True}


def _is_refused(outcome: Any, *words: str) -> None:
    assert (outcome.status, outcome.output) == (2, "")
    assert outcome.errors.startswith("gputopo: ")
    assert len(outcome.errors.splitlines()) == 1
    assert all(word in outcome.errors for word in words), outcome.errors
