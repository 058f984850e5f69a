"""Files that describe many simulated nodes."""

from pathlib import Path

import pytest

from gpu_topology.errors import SettingsError
from topology_agent.fleet import load_fleet

DUMP = "\tGPU0\tGPU1\nGPU0\t X \tNV4\nGPU1\tNV4\t X \n\nLegend:\n  NV#  = bonded set of # NVLinks\n"


def fleet_file(folder: Path, text: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


def test_machines_and_dumps_make_numbered_nodes_with_uuids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "office.txt").write_text(DUMP)
    nodes = load_fleet(
        fleet_file(
            tmp_path,
            "nodes:\n"
            "  - {name: 'dgx-{}', count: 2, machine: dgx-1v}\n"
            "  - {name: office, dump: office.txt, product: NVIDIA RTX A6000}\n",
        )
    )
    assert list(nodes) == ["dgx-0", "dgx-1", "office"]
    assert nodes["office"].bandwidth_gbps(0, 1) == 56.0
    assert len({gpu.uuid for topology in nodes.values() for gpu in topology.gpus}) == 18


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: [", "fleet.yaml: while parsing"),
        ("[]", "fleet.yaml: the file: "),
        ("nodes: []", "nodes: List should have at least 1 item"),
        ("nodes: [{name: a}]", "nodes.0: Value error, give either machine or dump"),
        ("nodes: [{name: a, machine: dgx-1v, dump: b}]", "give either machine or dump"),
        ("nodes: [{name: a, machine: dgx-1v, product: b}]", "product goes with dump"),
        ("nodes: [{name: a, machine: dgx-1v, count: 2}]", "name needs {} where count is above 1"),
        ("nodes: [{name: 'a{}', machine: dgx-1v, count: 5001}]", "nodes.0.count: "),
        ("nodes: [{name: 'a{}', machine: dgx-1v, count: 4000}, {name: 'b{}', machine: dgx-1v, count: 4000}]", "8000"),
        ("nodes: [{name: A_B, machine: dgx-1v}]", "'A_B' cannot be a node's name"),
        ("nodes: [{name: a, machine: dgx-1v}, {name: a, machine: dgx-2}]", "there is a node a already"),
        ("nodes: [{name: a, machine: dgx-9}]", "no machine profile 'dgx-9'"),
        ("nodes: [{name: a, dump: nowhere.txt}]", "nowhere.txt cannot be read: No such file"),
        ("nodes: [{name: a, dump: fleet.yaml}]", "fleet.yaml: "),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_fleet(fleet_file(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
