"""How the GPUs of the cluster stand, by kind of machine."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.failures import Standing, Verdict
from extender.ledger import Ledger
from extender.stock import GpuUse, MachineClass, Stock
from gpu_topology.placement import Demand
from gpu_topology.slices import SlicePool
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, switched

SWITCHED = MachineClass("nvswitch", "NVIDIA H100 80GB HBM3")
PAIRS = MachineClass("nvlink-pairs", "NVIDIA RTX A6000")
ONES_AND_FOURS = Demand.of({1: 1, 4: 1})


def ledger_of(*nodes: dict[str, Any]) -> Ledger:
    ledger = Ledger(demand=ONES_AND_FOURS)
    ledger.replace_nodes(nodes)
    return ledger


def in_states(stock: Stock) -> dict[str, int]:
    """The states that some GPU is in."""
    return {state.value: gpus for state, gpus in stock.gpus.items() if gpus}


def test_nodes_of_a_kind_are_added_up_and_the_largest_set_is_that_of_one_node() -> None:
    ledger = ledger_of(
        node("empty", switched(8)), node("busy", switched(8), held=[holder("a", range(5))]), node("pairs", bridged(4))
    )
    stock = ledger.stock()
    assert stock.keys() == {SWITCHED, PAIRS}
    assert in_states(stock[SWITCHED]) == {"free": 11, "taken": 5}
    assert (stock[SWITCHED].largest_set, stock[PAIRS].largest_set) == (8, 4)


def test_free_gpus_of_which_too_few_are_on_one_node_are_fragmented() -> None:
    """Three are of no use to half of the requests, those of four."""
    ledger = ledger_of(*(node(name, plain(4), held=[holder("a", [0])]) for name in "ab"))
    (stock,) = ledger.stock().values()
    assert stock.fragmented == 2 * 3 / 2


def test_gpus_that_are_unhealthy_or_cut_are_neither_free_nor_taken() -> None:
    cut = SlicePool("nvidia.com/mig-1g.10gb", 3, 7, 7)
    (stock,) = ledger_of(node("n", plain(4), unhealthy={0: "XID 79"}, slices=(cut,))).stock().values()
    assert in_states(stock) == {"free": 2, "sliced": 1, "out-of-service": 1}


def test_a_pod_that_is_bound_takes_gpus_before_the_agent_shows_it() -> None:
    ledger = ledger_of(node("n", switched(8)))
    ledger.apply_pod(pod("trainer", 3, on="n"))
    assert in_states(ledger.stock()[SWITCHED]) == {"free": 5, "taken": 3}


def test_free_gpus_of_a_node_that_is_left_out_can_be_had_by_nobody() -> None:
    ledger = ledger_of(node("n", switched(8), held=[holder("a", [0])]))
    until = datetime(2026, 1, 1, tzinfo=UTC)
    ledger.standings = {"n": Verdict(Standing.LEFT_OUT, "pods fail", until)}
    stock = ledger.stock()[SWITCHED]
    assert in_states(stock) == {"left-out": 7, "taken": 1}
    assert (stock.largest_set, stock.fragmented) == (0, 0)


def test_what_is_not_known_is_not_counted() -> None:
    assert not ledger_of(bare_node("silent"), node("stale", plain(4), stale="the kubelet is away")).stock()


@pytest.mark.parametrize("gpus", [1, 8])
def test_a_machine_without_a_model_or_a_class_has_empty_names(gpus: int) -> None:
    """As its node has no such label."""
    topology = plain(gpus)
    nameless = type(topology)(
        gpus=tuple(type(gpu)(uuid=gpu.uuid) for gpu in topology.gpus), pcie=topology.pcie, nvlinks=topology.nvlinks
    )
    (kind,) = ledger_of(node("n", nameless)).stock()
    assert kind == MachineClass("" if gpus == 1 else "pcie", "")


@given(st.lists(st.tuples(st.sampled_from([switched, bridged, plain]), st.sets(st.integers(0, 3))), max_size=8))
def test_every_gpu_of_a_known_node_is_in_one_state(machines: list[tuple[Any, set[int]]]) -> None:
    nodes = [
        node(f"n{number}", make(4), held=[holder("a", sorted(held))] if held else ())
        for number, (make, held) in enumerate(machines)
    ]
    stocks = ledger_of(*nodes).stock().values()
    assert sum(stock.gpus.total() for stock in stocks) == 4 * len(machines)
    assert all(0 <= stock.fragmented <= stock.gpus[GpuUse.FREE] for stock in stocks)
