"""Files that list the nodes of a cluster."""

from pathlib import Path

import pytest

from gpu_topology.errors import SettingsError
from gpu_topology.topology import NodeTopology
from simulator.machines import read_nodes


def nodes(folder: Path, text: str) -> dict[str, NodeTopology]:
    (folder / "pair.txt").write_text("\tGPU0\tGPU1\nGPU0\t X \tNV2\nGPU1\tNV2\t X \n")
    file = folder / "nodes.yaml"
    file.write_text(text)
    return read_nodes(file)


def test_kinds_of_machines_are_counted_and_take_turns(tmp_path: Path) -> None:
    found = nodes(tmp_path, "nodes: {dgx-1v: 2, pair.txt: 1}")
    assert {name: len(topology) for name, topology in found.items()} == {
        "dgx-1v-0000": 8,
        "pair-0000": 2,
        "dgx-1v-0001": 8,
    }


def test_the_agents_own_file_of_simulated_nodes_will_do(tmp_path: Path) -> None:
    text = "nodes: [{name: 'a-{}', count: 2, machine: dgx-1v}, {name: b, dump: pair.txt, product: Tesla V100}]"
    found = nodes(tmp_path, text)
    assert list(found) == ["a-0", "a-1", "b"]
    assert found["b"].gpus[0].product == "Tesla V100"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: {dgx-9: 1}", "dgx-9 is neither a readable file nor a machine profile: those are "),
        ("nodes: {dgx-1v: 0}", "nodes.dgx-1v: 0 is not a number of nodes, at least 1"),
        ("nodes: {dgx-1v: true}", "nodes.dgx-1v: True is not a number of nodes"),
        ("nodes: {}", "nodes: there is none"),
        ("nodes: []", "nodes: List should have at least 1 item"),
        ("machines: {}", "nodes: Field required"),
        ("3", "valid dictionary"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        nodes(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        read_nodes(tmp_path / "none.yaml")
