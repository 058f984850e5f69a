"""The kubelet's configuration file tells how it aligns containers to NUMA nodes."""

from pathlib import Path

import pytest

from gpu_topology.errors import SourceError
from topology_agent.kubelet.configuration import TopologyManager, read_topology_manager

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text)
    return file


def test_policy_and_scope_are_read(tmp_path: Path) -> None:
    text = f"{HEAD}topologyManagerPolicy: single-numa-node\ntopologyManagerScope: pod\nmaxPods: 110\n"
    assert read_topology_manager(written(tmp_path, text)) == TopologyManager("single-numa-node", "pod")


def test_what_the_file_leaves_out_is_the_kubelets_default(tmp_path: Path) -> None:
    assert read_topology_manager(written(tmp_path, HEAD)) == TopologyManager("none", "container")


@pytest.mark.parametrize("text", ["", "[]", "kind: Pod", f"{HEAD}topologyManagerPolicy: [x]", "a: b: c"])
def test_another_file_is_refused_in_a_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"config\.yaml") as caught:
        read_topology_manager(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        read_topology_manager(tmp_path / "none.yaml")
