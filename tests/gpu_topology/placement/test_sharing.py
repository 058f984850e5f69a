"""Nodes with the same links share one set of tables."""

from dataclasses import replace

import pytest

from gpu_topology.errors import PlacementError
from gpu_topology.links import PcieAncestor
from gpu_topology.placement import tables_of
from gpu_topology.placement.approximate import ApproximateTables
from gpu_topology.placement.exact import ExactTables
from gpu_topology.topology import Gpu, Nic, NodeTopology
from tests.gpu_topology.machines import dgx_1v, machine, nvswitch_box, pcie_box


def test_names_and_ids_make_no_other_kind_of_machine() -> None:
    named = replace(dgx_1v(), gpus=tuple(replace(gpu, uuid=f"GPU-{index}") for index, gpu in enumerate(dgx_1v().gpus)))
    assert tables_of(named) is tables_of(dgx_1v())


def test_whatever_changes_worth_makes_another() -> None:
    box = pcie_box()
    others = [
        replace(box, nics=()),
        replace(box, gpus=tuple(replace(gpu, numa_node=0) for gpu in box.gpus)),
        replace(box, gpus=(Gpu(numa_node=1), *box.gpus[1:])),
        replace(box, nics=(Nic("mlx5_0", (PcieAncestor.PXB,) * 8),)),
    ]
    assert all(tables_of(other) is not tables_of(box) for other in others)


def test_a_model_has_tables_of_its_own() -> None:
    assert tables_of(dgx_1v(), "effbw") is not tables_of(dgx_1v())
    assert tables_of(dgx_1v(), "effbw").worth(0b1001).bandwidth_gbps == pytest.approx(58.925, abs=1e-3)


def test_a_model_that_does_not_fit_is_refused() -> None:
    with pytest.raises(PlacementError, match="single and double"):
        tables_of(nvswitch_box(), "effbw")
    with pytest.raises(PlacementError, match="up to 16 GPUs"):
        tables_of(machine(17), "effbw")
    with pytest.raises(ValueError, match="bogus"):
        tables_of(dgx_1v(), "bogus")


@pytest.mark.parametrize(("size", "kind"), [(0, ExactTables), (16, ExactTables), (17, ApproximateTables)])
def test_up_to_sixteen_gpus_are_exact(size: int, kind: type) -> None:
    assert isinstance(tables_of(machine(size)), kind)


def test_a_large_machine_with_absurdly_many_different_links_is_approximated() -> None:
    """Each different bandwidth costs a pass over all sets."""
    absurd: NodeTopology = machine(16, nvlinks=lambda first, second: 16 * first + second)
    assert not tables_of(absurd).exact
