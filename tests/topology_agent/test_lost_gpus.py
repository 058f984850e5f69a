"""A lost GPU stays what it was."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.topology import Gpu, NodeTopology
from tests.gpu_topology.strategies import topologies
from topology_agent.lost_gpus import remember_lost
from topology_agent.profiles import load_machine
from topology_agent.simulation import with_uuids

DGX = with_uuids(load_machine("dgx-1v"), "node")


def without(topology: NodeTopology, lost: int) -> NodeTopology:
    """The topology as it is read when a GPU does not answer any more."""
    size = range(len(topology))
    return replace(
        topology,
        gpus=tuple(Gpu() if index == lost else gpu for index, gpu in enumerate(topology.gpus)),
        pcie=tuple(tuple(None if lost in (i, j) else topology.pcie[i][j] for j in size) for i in size),
        p2p=tuple(tuple(None if lost in (i, j) else topology.p2p[i][j] for j in size) for i in size),
        nvlinks=tuple(tuple(0 if lost in (i, j) else topology.nvlinks[i][j] for j in size) for i in size),
        nics=tuple(
            replace(nic, pcie=tuple(None if index == lost else cell for index, cell in enumerate(nic.pcie)))
            for nic in topology.nics
        ),
    )


@given(topologies(), st.data())
def test_a_loss_is_no_change_of_the_hardware(topology: NodeTopology, data: st.DataObject) -> None:
    """So the topology annotation, and what refers to it, stay as they are."""
    unnamed = replace(topology, nics=())
    if len(unnamed) == 0:
        return
    lost = data.draw(st.integers(0, len(unnamed) - 1))
    assert remember_lost(without(unnamed, lost), unnamed, [lost]) == unnamed


@pytest.mark.parametrize("lost", range(8))
def test_it_keeps_its_uuid_its_links_and_its_network_cards(lost: int) -> None:
    """The kubelet goes on to know it by its UUID."""
    assert remember_lost(without(DGX, lost), DGX, [lost]) == DGX


def test_what_others_say_now_counts() -> None:
    """A link that died together with the GPU, between two others, is gone."""
    row = [list(cells) for cells in DGX.nvlinks]
    row[0][1] = row[1][0] = 0
    damaged = without(replace(DGX, nvlinks=tuple(map(tuple, row))), 7)
    known = remember_lost(damaged, DGX, [7])
    assert known.nvlinks[0][1] == 0
    assert known.nvlinks[3][7] == DGX.nvlinks[3][7]


def test_other_hardware_is_not_mixed_with_the_former() -> None:
    """Where cards were changed over a reboot, nothing of before is taken for true."""
    other = without(with_uuids(load_machine("dgx-1v"), "other"), 3)
    assert remember_lost(other, DGX, [3]) == other
    assert remember_lost(other, with_uuids(load_machine("gb200-tray"), "node"), [3]) == other
