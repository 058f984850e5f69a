"""Which worth model judges which machines."""

import pytest

from gpu_topology.interconnect import Interconnect, interconnect_of
from gpu_topology.placement import WorthModel, WorthModels
from topology_agent.profiles import load_machine


@pytest.mark.parametrize(
    ("machine", "interconnect"),
    [
        ("dgx-1v", Interconnect.NVLINK_MESH),
        ("hgx-h100", Interconnect.NVSWITCH),
        ("bridged-pairs-8", Interconnect.NVLINK_PAIRS),
        ("pcie-8", Interconnect.PCIE),
    ],
)
def test_machines_are_told_apart_by_what_joins_their_gpus(machine: str, interconnect: Interconnect) -> None:
    """By the fastest links that they have."""
    assert interconnect_of(load_machine(machine)) is interconnect


def test_a_class_of_machines_may_have_a_model_of_its_own() -> None:
    """And all others have the default."""
    models = WorthModels.parse("ring, nvlink-mesh=effbw")
    assert models.of(load_machine("dgx-1v")) is WorthModel.EFFBW
    assert models.of(load_machine("hgx-h100")) is WorthModel.RING


def test_one_model_alone_judges_all() -> None:
    """As before there were classes."""
    assert WorthModels.parse("effbw").of(load_machine("pcie-8")) is WorthModel.EFFBW


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("luck", "'luck' is no worth model: they are ring, effbw"),
        ("", "'' is no worth model"),
        ("ring,mesh=effbw", "'mesh' is no class of machines: they are nvswitch, nvlink-mesh, nvlink-pairs, pcie"),
        ("ring,pcie", "'' is no worth model"),
    ],
)
def test_a_setting_that_cannot_be_read_says_what_there_is(text: str, says: str) -> None:
    """In one sentence."""
    with pytest.raises(ValueError, match=says):
        WorthModels.parse(text)
