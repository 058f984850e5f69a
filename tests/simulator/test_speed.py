"""The speed model, and that it fits what was measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.experiments import amaral
from benchmarks.experiments.amaral_profiles import Program, measured_times
from simulator.jobs import Job, split
from simulator.runtime import SpeedModel
from simulator.speed import (
    ACROSS_GBPS,
    MEASURED_RATIOS,
    NETWORK_GBPS,
    REFERENCE_GBPS,
    joint_bandwidth,
    slowdown,
)
from tests.shared_data import shared
from tests.simulator.clusters import cluster, play


def test_a_job_on_the_best_set_runs_as_long_as_it_says() -> None:
    assert slowdown(0.1, 300.0, 300.0) == 1.0


def test_a_job_without_links_is_not_slowed_down() -> None:
    assert slowdown(0.1, 0.0, 0.0) == 1.0


@given(st.floats(0, 1), st.floats(1, 1000), st.floats(1, 1000))
def test_less_bandwidth_never_makes_a_job_faster(communication: float, one: float, other: float) -> None:
    slow, fast = sorted((one, other))
    assert slowdown(communication, slow, 1000.0) >= slowdown(communication, fast, 1000.0) >= 1.0


def test_half_the_bandwidth_doubles_the_time_of_communication() -> None:
    """One second in three is communication at the reference: it becomes two in four."""
    assert slowdown(0.5, REFERENCE_GBPS / 2, REFERENCE_GBPS) == pytest.approx(2 / 1.5)


def test_the_slowest_pod_or_the_network_decides_for_a_job_of_several() -> None:
    assert joint_bandwidth([300.0]) == 300.0
    assert joint_bandwidth([300.0, 300.0]) == NETWORK_GBPS
    assert joint_bandwidth([300.0, 11.4]) == 11.4
    assert joint_bandwidth([0.0]) == 0.0
    assert joint_bandwidth([0.0, 0.0]) == NETWORK_GBPS


def test_the_runtime_on_a_slower_machine_is_longer() -> None:
    """The job says how long it runs on the H100s, but only the PCIe machine has room."""
    nodes = cluster("hgx-h100", "pcie-8")
    held = play(nodes, [Job("a", 0, 10, split(8, 8)), Job("b", 0, 10, split(8, 8), 0.1455)])["b"].held
    assert held[0].node.name == "1-pcie-8"
    runtime = SpeedModel(nodes)(Job("b", 0, 100, split(8, 8), 0.1455), held)
    assert runtime == pytest.approx(100 * slowdown(0.1455, held[0].bandwidth_gbps, 376.2))


def test_the_model_fits_the_measured_times() -> None:
    """The figures that the model's description states."""
    shared("traces/amaral_profile_solo.csv")
    found = amaral.calibrate(measured_times())
    programs = [Program(net, batch, 2) for net in ("alexnet", "googlenet") for batch in (1, 4, 64, 128)]
    assert [found.ratios[program] for program in programs] == pytest.approx(MEASURED_RATIOS, abs=5e-5)
    assert found.error == pytest.approx(0.016, abs=0.0005)
    assert found.error_left_out == pytest.approx(0.021, abs=0.001)
    assert ACROSS_GBPS < REFERENCE_GBPS
