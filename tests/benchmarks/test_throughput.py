"""The measurement of throughput, on a small cluster: its shape, never its speed."""

import os

import pytest

from benchmarks import throughput
from benchmarks.throughput_quality import mean_bandwidth
from benchmarks.throughput_testbed import Variant, pod_sizes, scheduler_configuration
from benchmarks.throughput_time import cpu_seconds, extender_seconds, scheduler_seconds
from tests.control_plane.stack import SCHEDULER_CONFIG

PAGE = """
# TYPE scheduler_scheduling_algorithm_duration_seconds histogram
scheduler_scheduling_algorithm_duration_seconds_bucket{le="+Inf"} 2
scheduler_scheduling_algorithm_duration_seconds_sum 1.5
scheduler_scheduling_algorithm_duration_seconds_count 2
# TYPE scheduler_framework_extension_point_duration_seconds histogram
scheduler_framework_extension_point_duration_seconds_sum{extension_point="PreFilter",status="Success"} 0.1
scheduler_framework_extension_point_duration_seconds_sum{extension_point="Filter",status="Success"} 0.2
scheduler_framework_extension_point_duration_seconds_sum{extension_point="Filter",status="Error"} 0.1
scheduler_framework_extension_point_duration_seconds_sum{extension_point="Score",status="Success"} 0.1
scheduler_framework_extension_point_duration_seconds_sum{extension_point="Bind",status="Success"} 3.0
# TYPE gpu_scheduler_request_duration_seconds histogram
gpu_scheduler_request_duration_seconds_sum{verb="filter"} 0.5
"""


@pytest.mark.usefixtures("control_plane_programs")
def test_every_variant_binds_all_pods_and_says_where_the_time_went() -> None:
    """With a real control plane; that a pod was left waiting would be an `UnboundPodsError`."""
    lines: list[str] = []
    figures = throughput.measure([20], pods=20, rounds=1, report=lines.append)
    row = figures["20"]
    assert all(row[variant.value] > 0 for variant in Variant)
    assert row["ratio_to_go_echo"] == pytest.approx(row["ours"] / row["go_echo"], abs=0.02)
    assert set(row["quality"]) == {"1", "20", "100", "all"}
    assert "extender_filter" in row["shares"]["ours"]
    assert "extender_bind" in row["shares"]["ours_with_bind"]
    assert "extender_filter" not in row["shares"]["none"]
    assert len(lines) == len(Variant)
    assert throughput.tables(figures)


def test_pods_are_of_all_sizes_and_the_large_ones_come_first() -> None:
    """So many as asked for, rounded in favour of single GPUs."""
    for count in (10, 19, 2000):
        sizes = pod_sizes(count)
        assert len(sizes) == count
        assert sizes == sorted(sizes, reverse=True)
    assert set(pod_sizes(2000)) == {1, 2, 4, 8}


def test_the_scheduler_is_the_shipped_one_but_for_the_extender() -> None:
    """Neither the limit of requests nor the profile differ between the variants."""
    without, with_echo = scheduler_configuration(None), scheduler_configuration({"urlPrefix": "http://echo"})
    assert "extenders" not in without
    assert with_echo["extenders"][0]["urlPrefix"] == "http://echo"
    del with_echo["extenders"]
    assert without == with_echo
    assert f"qps: {without['clientConnection']['qps']}" in SCHEDULER_CONFIG.read_text()


def test_the_rest_of_the_decisions_is_what_the_extender_takes() -> None:
    """Of kube-scheduler's metrics; the failed attempts count too."""
    assert scheduler_seconds(PAGE) == pytest.approx(
        {"own_filter": 0.4, "own_score": 0.1, "extender_calls": 1.0, "own_bind": 3.0}
    )
    assert extender_seconds(PAGE) == {"extender_filter": 0.5}


def test_the_cpu_time_of_a_process_is_the_kernels() -> None:
    """User and system time, to the tick."""
    before = sum(os.times()[:2])
    assert before - 0.02 <= cpu_seconds(os.getpid()) <= sum(os.times()[:2]) + 0.02


def test_more_candidates_never_place_worse_on_a_small_cluster() -> None:
    """With as many nodes as candidates both see the same."""
    sizes = pod_sizes(20)
    assert mean_bandwidth(20, sizes, 20) == mean_bandwidth(20, sizes, 0) > 0
