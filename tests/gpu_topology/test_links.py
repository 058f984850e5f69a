"""What links carry: the figures fit together."""

import pytest

from gpu_topology.links import (
    NVLINK_GBPS,
    PcieAncestor,
    nvlink_gbps,
    pcie_gbps,
    pcie_generation,
    staged_gbps,
)


@pytest.mark.parametrize("product", [None, "Tesla V100-SXM2-32GB", "NVIDIA A100 80GB PCIe", "NVIDIA RTX A6000"])
def test_a_single_nvlink_of_a_server_gpu_beats_pcie_from_socket_to_socket(product: str | None) -> None:
    """A workstation card's single link is slower than its PCIe, but such cards have four."""
    links = 4 if product == "NVIDIA RTX A6000" else 2 if product == "NVIDIA A100 80GB PCIe" else 1
    assert links * nvlink_gbps(product) > pcie_gbps(PcieAncestor.PIX, product)


def test_a_nearer_pcie_ancestor_is_never_slower() -> None:
    rates = [pcie_gbps(ancestor, "NVIDIA H100 PCIe") for ancestor in sorted(PcieAncestor)]
    assert rates == sorted(rates)
    assert rates[0] < rates[1]


def test_an_unknown_ancestor_counts_as_the_farthest() -> None:
    assert pcie_gbps(None) == pcie_gbps(PcieAncestor.SYS)


@pytest.mark.parametrize("product", ["Tesla V100-SXM2-32GB", "NVIDIA A100 80GB PCIe", "NVIDIA H100 PCIe"])
@pytest.mark.parametrize("ancestor", [None, *PcieAncestor])
def test_staging_in_the_host_is_slower_than_peer_access(ancestor: PcieAncestor | None, product: str) -> None:
    """Whatever the two have in common."""
    assert staged_gbps(ancestor, product) < pcie_gbps(ancestor, product)


def test_staging_is_slowest_behind_one_switch() -> None:
    """As measured between eight TITAN RTX, in GB/s."""
    assert staged_gbps(PcieAncestor.PIX, "NVIDIA TITAN RTX") == 9.9
    assert staged_gbps(PcieAncestor.SYS, "NVIDIA TITAN RTX") == 11.4
    assert staged_gbps(None) == staged_gbps(PcieAncestor.PIX)


def test_an_unknown_model_counts_as_the_slowest() -> None:
    assert pcie_gbps(PcieAncestor.PIX) == pcie_gbps(PcieAncestor.PIX, "Tesla P100-SXM2-16GB")
    assert nvlink_gbps(None) == min(NVLINK_GBPS.values())


@pytest.mark.parametrize(
    ("product", "generation"),
    [
        ("Tesla V100-SXM2-32GB", 3),
        ("Quadro RTX 5000", 3),
        ("NVIDIA A100-SXM4-80GB", 4),
        ("NVIDIA GeForce RTX 4090", 4),
        ("NVIDIA RTX 6000 Ada Generation", 4),
        ("NVIDIA L40S", 4),
        ("NVIDIA H100 80GB HBM3", 5),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 5),
    ],
)
def test_the_pcie_generation_follows_from_the_model(product: str, generation: int) -> None:
    assert pcie_generation(product) == generation
