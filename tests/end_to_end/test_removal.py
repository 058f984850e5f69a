"""What the page about removal says is enough: afterwards the cluster has nothing of this project's any more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION
from gpu_topology.cordon import CORDON_ANNOTATION
from tests.control_plane import objects
from tests.control_plane.cluster import ControlPlane
from tests.end_to_end.examples.shell import Shell
from tests.manifests.files import REPOSITORY, blocks_in, overlay
from topology_agent.labels import OWN_LABELS

[REMOVAL] = [
    text for text in (REPOSITORY / "docs" / "upgrade.md").read_text().split("\n## ") if text.startswith("Remove it\n")
]
LOOK_FOR_PODS, REMOVE, LOOK_FOR_REMAINS = blocks_in(REMOVAL, "sh")
CONTROLLERS = ("namespace-controller",)


@pytest.fixture
def installed(
    controller_manager_program: None,  # noqa: ARG001 - for its skip
    tmp_path: Path,
) -> Iterator[tuple[ControlPlane, Shell, Path]]:
    """A cluster that has the manifests, by an overlay in a folder, and a node on which an agent has written."""
    folder = overlay(tmp_path)
    with ControlPlane(tmp_path / "control-plane") as control_plane, control_plane.start_controller_manager(CONTROLLERS):
        shell = Shell(tmp_path / "shell", control_plane.kubeconfig(), None, "http://127.0.0.1:8888")
        shell.run(f"kubectl apply --server-side -k {folder}")
        annotations = dict.fromkeys((TOPOLOGY_ANNOTATION, STATE_ANNOTATION, CORDON_ANNOTATION), "{}")
        node = objects.node("gpu-node", labels=dict.fromkeys(OWN_LABELS, "1"), annotations=annotations)
        control_plane.client.create(node)
        yield control_plane, shell, folder


def test_after_the_commands_of_the_page_nothing_is_left(installed: tuple[ControlPlane, Shell, Path]) -> None:
    control_plane, shell, folder = installed
    control_plane.client.create(objects.pod("waits", scheduler_name="gpu-scheduler"))
    assert "waits" in shell.ask(LOOK_FOR_PODS)
    assert "gpu-scheduler" in shell.ask(LOOK_FOR_REMAINS)
    shell.run(f"cd {folder} && {REMOVE}")
    assert shell.ask(LOOK_FOR_REMAINS).split() == ["0"]
    assert "gpu-" not in shell.ask("kubectl get namespaces,roles,rolebindings -A -o name")
