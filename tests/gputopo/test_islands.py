"""Groups of GPUs."""

from hypothesis import given

from gpu_topology.placement.link_graph import link_graph_of
from gpu_topology.topology import NodeTopology
from gputopo.islands import islands_of
from tests.gpu_topology.strategies import topologies
from topology_agent.profiles import load_machine


def test_bridged_pairs_are_islands_of_two() -> None:
    islands = islands_of(link_graph_of(load_machine("bridged-pairs-8")))

    assert all(len(group) == 2 for group in islands["nvlink"])


def test_gpus_without_nvlink_are_islands_of_their_own() -> None:
    islands = islands_of(link_graph_of(load_machine("pcie-8")))

    assert islands["nvlink"] == [[gpu] for gpu in range(8)]


@given(topologies())
def test_every_gpu_is_in_one_island_of_each_kind(topology: NodeTopology) -> None:
    for groups in islands_of(link_graph_of(topology)).values():
        assert sorted(gpu for group in groups for gpu in group) == list(range(len(topology)))


@given(topologies())
def test_linked_gpus_are_in_one_island(topology: NodeTopology) -> None:
    """Unless they are known to have no access to one another over their links."""
    groups = islands_of(link_graph_of(topology))["nvlink"]
    for first, second in topology.pairs():
        if topology.nvlinks[first][second] and topology.p2p[first][second] is not False:
            assert any(first in group and second in group for group in groups)
