"""The machine profiles shipped with the agent: all can be read, and say what is publicly known of the machines."""

from itertools import combinations

import pytest

from gpu_topology.contract import decode_topology, encode_topology
from gpu_topology.errors import SettingsError, TopologyError
from gpu_topology.links import PcieAncestor, nvlink_generation
from topology_agent.profiles import load_machine, machine_names, parse_profile

GOOD = """
description: two GPUs
source: a test
product: NVIDIA L40S
memory_mib: 46068
numa_nodes: [0, 1]
nvlinks: none
pcie: |
  X   SYS
  SYS X
"""


@pytest.mark.parametrize("name", machine_names())
class TestEveryProfile:
    def test_fits_into_an_annotation_and_comes_back_equal(self, name: str) -> None:
        topology = load_machine(name)
        assert decode_topology(encode_topology(topology)) == topology

    def test_has_as_many_links_on_every_gpu(self, name: str) -> None:
        """These machines are regular: no GPU is better linked than another."""
        assert len({sum(row) for row in load_machine(name).nvlinks}) == 1

    def test_knows_whether_there_is_a_switch_where_there_are_links(self, name: str) -> None:
        topology = load_machine(name)
        assert (topology.nvswitch is None) == (not any(map(any, topology.nvlinks)))

    def test_names_a_gpu_whose_link_speed_is_known(self, name: str) -> None:
        topology = load_machine(name)
        if topology.nvswitch is not None:
            assert all(nvlink_generation(gpu.product) for gpu in topology.gpus)

    def test_crosses_the_sockets_only_between_numa_nodes(self, name: str) -> None:
        """A pair nearer than SYS is in one NUMA node: no PCIe switch and no host bridge belongs to two."""
        topology = load_machine(name)
        for first, second in topology.pairs():
            if topology.pcie[first][second] not in (None, PcieAncestor.SYS):
                assert topology.gpus[first].numa_node == topology.gpus[second].numa_node

    def test_has_a_pcie_tree(self, name: str) -> None:
        """Nearness in a tree is ultrametric: of three pairs among three GPUs, the two farthest are equally far."""
        pcie = load_machine(name).pcie
        for a, b, c in combinations(range(len(pcie)), 3):
            sides = [pcie[a][b], pcie[b][c], pcie[a][c]]
            known = sorted(side for side in sides if side is not None)
            assert len(known) < 3 or known[0] == known[1]


@pytest.mark.parametrize(
    ("name", "gpus", "links_per_gpu", "tokens"),
    [
        ("dgx-1v", 8, 6, {"NV1", "NV2", "SYS"}),
        ("dgx-1p", 8, 4, {"NV1", "SYS"}),
        ("dgx-2", 16, 6 * 15, {"NV6"}),
        ("dgx-a100", 8, 12 * 7, {"NV12"}),
        ("hgx-h100", 8, 18 * 7, {"NV18"}),
        ("hgx-h200", 8, 18 * 7, {"NV18"}),
        ("hgx-b200", 8, 18 * 7, {"NV18"}),
        ("gb200-tray", 4, 18 * 3, {"NV18"}),
        ("p4-nvlink-4", 4, 12, {"NV4"}),
        ("ac922", 4, 3, {"NV3", "SYS"}),
        ("bridged-pairs-8", 8, 12, {"NV12", "NODE", "SYS"}),
        ("a6000-pairs-8", 8, 4, {"NV4", "SYS"}),
        ("pcie-8", 8, 0, {"PIX", "PXB", "SYS"}),
        ("pcie-8-direct", 8, 0, {"NODE", "SYS"}),
        ("pcie-4-node-sys", 4, 0, {"NODE", "SYS"}),
    ],
)
def test_a_machine_has_the_links_that_it_is_known_for(
    name: str, gpus: int, links_per_gpu: int, tokens: set[str]
) -> None:
    topology = load_machine(name)
    assert len(topology) == gpus
    assert {sum(row) for row in topology.nvlinks} == {links_per_gpu}
    assert {topology.token(first, second) for first, second in topology.pairs()} == tokens


def test_every_profile_is_checked_above() -> None:
    """A new profile needs a line in the table of known machines."""
    assert len(machine_names()) == 15


def test_a_linked_pair_of_a_dgx_1v_has_a_pcie_ancestor_too() -> None:
    topology = load_machine("dgx-1v")
    assert topology.nvlinks[0][3] == 2
    assert topology.pcie[0][3] is PcieAncestor.PHB
    assert topology.nics[1].pcie[2] is PcieAncestor.PIX


def test_an_unknown_machine_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"'dgx-9'.*dgx-1v, dgx-2"):
        load_machine("dgx-9")


def test_the_smallest_profile_is_read() -> None:
    topology = parse_profile(GOOD, "good.yaml")
    assert topology.token(0, 1) == "SYS"
    assert topology.gpus[1].numa_node == 1
    assert topology.gpus[0].uuid is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("product: NVIDIA L40S\n", "", "bad.yaml: product: Field required"),
        ("memory_mib: 46068", "memory_mib: much", "bad.yaml: memory_mib: "),
        ("memory_mib", "memory_gib", "bad.yaml: memory_mib: Field required"),
        ("nvlinks: none", "nvlinks: none\ncolour: red", "bad.yaml: colour: Extra inputs"),
        ("  X   SYS\n", "", "bad.yaml: pcie: must have 2 rows of 2 cells"),
        ("X   SYS", "X   SIS", "bad.yaml: pcie, row 0, column 1: 'SIS' is not one of SYS, NODE, "),
        ("X   SYS", "SYS SYS", "bad.yaml: pcie, row 0, column 0: 'SYS', but X belongs on the diagonal"),
        ("X   SYS", "X   PIX", "bad.yaml: pcie: GPU 0 and GPU 1 are linked by"),
        ("nvlinks: none", "nvlinks: some", "bad.yaml: nvlinks: 'some' is neither - nor a number of NVLinks"),
        ("nvlinks: none", "nvlinks: none\nnics: {nic: SYS}", "bad.yaml: NIC nic: 1 PCIe ancestors for 2 GPUs"),
        ("nvlinks: none", 'nvlinks: none\npci_bus_ids: ["01:00.0"]', "bad.yaml: pci_bus_ids: 1 for 2"),
        ("description: two GPUs", "description: [", "bad.yaml: is not YAML: "),
    ],
)
def test_a_wrong_profile_is_refused_with_its_file_and_field(old: str, new: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse_profile(GOOD.replace(old, new, 1), "bad.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
