"""The labels of well-known machines, and of what is not known of a machine."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology_agent.labels import FABRIC_CLIQUE_LABEL, GPU_COUNT_LABEL, INTERCONNECT_LABEL, labels_of
from topology_agent.profiles import load_machine, machine_names

INTERCONNECTS = {
    "a6000-pairs-8": "nvlink-pairs",
    "bridged-pairs-8": "nvlink-pairs",
    "dgx-1p": "nvlink-mesh",
    "dgx-1v": "nvlink-mesh",
    "dgx-2": "nvswitch",
    "dgx-a100": "nvswitch",
    "gb200-tray": "nvswitch",
    "hgx-h100": "nvswitch",
    "pcie-4-node-sys": "pcie",
    "pcie-8": "pcie",
}


@pytest.mark.parametrize(("machine", "interconnect"), INTERCONNECTS.items())
def test_the_interconnect_of_a_machine_is_its_label(machine: str, interconnect: str) -> None:
    assert labels_of(load_machine(machine))[INTERCONNECT_LABEL] == interconnect


@pytest.mark.parametrize("machine", machine_names())
def test_every_machine_is_labelled_with_its_gpus_and_an_interconnect(machine: str) -> None:
    topology = load_machine(machine)
    labels = labels_of(topology)
    assert labels[GPU_COUNT_LABEL] == str(len(topology))
    assert INTERCONNECT_LABEL in labels
    assert (FABRIC_CLIQUE_LABEL in labels) == (topology.clique is not None)


def test_a_fabric_clique_is_a_label() -> None:
    tray = load_machine("gb200-tray")
    assert labels_of(tray)[FABRIC_CLIQUE_LABEL] == tray.clique


def test_links_that_may_have_been_missed_leave_the_interconnect_open() -> None:
    bare = replace(load_machine("pcie-8"), nvlinks_complete=False)
    pairs = replace(load_machine("bridged-pairs-8"), nvlinks_complete=False, nvswitch=None)
    assert INTERCONNECT_LABEL not in labels_of(bare)
    assert INTERCONNECT_LABEL not in labels_of(pairs)


def test_a_mesh_that_may_be_a_switch_has_no_interconnect_label() -> None:
    assert INTERCONNECT_LABEL not in labels_of(replace(load_machine("hgx-h100"), nvswitch=None))


@given(st.text(min_size=1))
def test_a_clique_of_any_name_makes_a_label_that_the_api_server_takes(clique: str) -> None:
    value = labels_of(replace(load_machine("gb200-tray"), clique=clique)).get(FABRIC_CLIQUE_LABEL, "0")
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)
