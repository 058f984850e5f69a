"""The model of a node."""

from dataclasses import replace

import pytest
from hypothesis import given

from gpu_topology.errors import TopologyError
from gpu_topology.links import PcieAncestor, nvlink_gbps, nvlink_generation, pcie_gbps
from gpu_topology.topology import Gpu, Nic, NodeTopology
from tests.gpu_topology.strategies import topologies

PIX, SYS = PcieAncestor.PIX, PcieAncestor.SYS


def three(product: str | None = None) -> NodeTopology:
    """GPU 0 and 1 share two NVLinks, 1 and 2 a PCIe switch, 0 and 2 nothing known."""
    return NodeTopology(
        gpus=(Gpu(product=product),) * 3,
        pcie=((None, SYS, None), (SYS, None, PIX), (None, PIX, None)),
        nvlinks=((0, 2, 0), (2, 0, 0), (0, 0, 0)),
        nvswitch=False,
    )


def test_nvlink_outranks_pcie_and_parallel_links_add_up() -> None:
    """Two second-generation links carry 47.8 GB/s (measured: 47.9)."""
    assert three("Tesla V100-SXM2-32GB").bandwidth_gbps(0, 1) == pytest.approx(47.8)


def test_an_unknown_ancestor_counts_as_the_farthest() -> None:
    """Nothing is promised that the machine may not keep."""
    assert three().bandwidth_gbps(0, 2) == pcie_gbps(SYS)


@pytest.mark.parametrize(("pair", "gbps"), [((0, 1), 11.4), ((1, 2), 9.9), ((0, 2), 9.9)])
def test_without_peer_access_everything_is_staged_in_the_host(pair: tuple[int, int], gbps: float) -> None:
    """NVLinks are of no use then."""
    denied = ((None, False, False), (False, None, False), (False, False, None))
    assert replace(three(), p2p=denied).bandwidth_gbps(*pair) == gbps


@given(topologies())
def test_peer_access_that_is_unknown_counts_as_there(topology: NodeTopology) -> None:
    """Nobody lost anything by not being asked; and to have it is never worth less than to lack it."""
    size = range(len(topology))
    granted, denied = (
        replace(topology, p2p=tuple(tuple(None if i == j else access for j in size) for i in size))
        for access in (True, False)
    )
    for pair in topology.pairs():
        unknown = replace(topology, p2p=())
        assert denied.bandwidth_gbps(*pair) < unknown.bandwidth_gbps(*pair) == granted.bandwidth_gbps(*pair)


def test_pcie_is_as_fast_as_the_models_generation() -> None:
    """An H100 card has PCIe 5.0, an A100 4.0; together they copy at the slower one's rate."""
    products = ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe", "NVIDIA A100 80GB PCIe")
    cards = NodeTopology(
        gpus=tuple(Gpu(product=product) for product in products),
        pcie=((None, PIX, PIX), (PIX, None, PIX), (PIX, PIX, None)),
        nvlinks=((0, 0, 0),) * 3,
    )
    assert cards.bandwidth_gbps(0, 1) == pcie_gbps(PIX, "NVIDIA H100 PCIe") > cards.bandwidth_gbps(0, 2)
    assert cards.bandwidth_gbps(0, 2) == pcie_gbps(PIX, "NVIDIA A100 80GB PCIe")


def test_the_slower_end_decides_between_different_models() -> None:
    """A link is as fast as the older of its ports."""
    mixed = NodeTopology(
        gpus=(Gpu(product="Tesla P100-SXM2-16GB"), Gpu(product="Tesla V100-SXM2-16GB")),
        pcie=((None, SYS), (SYS, None)),
        nvlinks=((0, 1), (1, 0)),
    )
    assert mixed.bandwidth_gbps(0, 1) == nvlink_gbps("Tesla P100-SXM2-16GB")


@given(topologies())
def test_the_graph_has_every_pair_with_its_link(topology: NodeTopology) -> None:
    """Kind and bandwidth stand on every edge."""
    graph = topology.graph()
    assert graph.number_of_nodes() == len(topology)
    assert {frozenset(edge) for edge in graph.edges} == {frozenset(pair) for pair in topology.pairs()}
    for first, second, edge in graph.edges(data=True):
        assert edge["bandwidth_gbps"] == topology.bandwidth_gbps(first, second) > 0
        assert edge["kind"] in {"nvlink", "nvswitch", "unknown", *PcieAncestor.__members__}


def test_tokens_are_those_of_nvidia_smi() -> None:
    """As `nvidia-smi topo -m` would show the pair."""
    assert [three().token(0, other) for other in range(3)] == ["X", "NV2", "?"]
    assert three().token(1, 2) == "PIX"


def test_a_lopsided_matrix_is_refused() -> None:
    """A link has one quality, whichever end asks."""
    with pytest.raises(TopologyError, match="GPU 0 and GPU 1 are linked by 1 one way and 0 the other"):
        NodeTopology((Gpu(), Gpu()), ((None, SYS), (SYS, None)), ((0, 1), (0, 0)))


def test_a_gpu_has_no_peer_access_to_itself() -> None:
    with pytest.raises(TopologyError, match="p2p: GPU 1 is said to have access to itself"):
        replace(three(), p2p=((None, None, None), (None, True, None), (None, None, None)))


def test_a_nic_needs_an_ancestor_for_every_gpu() -> None:
    """A row that is too short would shift the others."""
    with pytest.raises(TopologyError, match="NIC mlx5_0: 1 PCIe ancestors for 0 GPUs"):
        NodeTopology((), (), (), nics=(Nic("mlx5_0", (SYS,)),))


@pytest.mark.parametrize(
    ("product", "generation"),
    [
        ("Tesla P100-SXM2-16GB", 1),
        ("Tesla V100-SXM2-32GB", 2),
        ("NVIDIA GeForce RTX 2080 Ti", 2),
        ("NVIDIA A100-SXM4-80GB", 3),
        ("NVIDIA A800-SXM4-80GB", 3),
        ("NVIDIA RTX A6000", 3),
        ("NVIDIA A40", 3),
        ("NVIDIA GeForce RTX 3090", 3),
        ("NVIDIA H100 80GB HBM3", 4),
        ("NVIDIA H20", 4),
        ("NVIDIA H200", 4),
        ("NVIDIA GH200 480GB", 4),
        ("NVIDIA B200", 5),
        ("NVIDIA GB200", 5),
        ("NVIDIA L40S", None),
        ("NVIDIA RTX 6000 Ada Generation", None),
        ("NVIDIA RTX 4000 Ada Generation", None),
        (None, None),
    ],
)
def test_the_product_name_tells_the_nvlink_generation(product: str | None, generation: int | None) -> None:
    """Or tells nothing, which is said too."""
    assert nvlink_generation(product) == generation


def test_links_of_workstation_cards_are_slower() -> None:
    """An RTX A6000 has third-generation links at 14 GB/s, an A100 at 23."""
    assert nvlink_gbps("NVIDIA RTX A6000") < nvlink_gbps("NVIDIA A100-SXM4-40GB")
