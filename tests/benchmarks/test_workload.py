"""Workloads: read, refused, simulated, and held to their thresholds."""

from pathlib import Path

import pytest

from benchmarks.workload import Workload, read_workload, shipped_workloads
from gpu_topology.errors import SettingsError
from simulator.comparison import compare

WORKLOAD = """
description: two small nodes
nodes: {dgx-1v: 1, pcie-8: 1}
jobs: {generator: itp, count: 40}
load: 0.9
seeds: 2
"""


def workload(folder: Path, more: str = "", text: str = WORKLOAD) -> Workload:
    file = folder / "small.yaml"
    file.write_text(text + more)
    return read_workload(file)


@pytest.mark.parametrize("name", shipped_workloads())
def test_every_shipped_workload_can_be_read(name: str) -> None:
    assert read_workload(shipped_workloads()[name]).description


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a YAML mapping"),
        (": :", "not a YAML mapping"),
        ("description: x", "nodes: Field required"),
        (WORKLOAD.replace("itp", "guess"), "jobs: .*the generators are itp, philly"),
        (WORKLOAD.replace("generator: itp", "trace: a.csv, generator: itp"), "either a generator or a trace"),
        (WORKLOAD + "thresholds: {guess: {}}", "the policies are"),
        (WORKLOAD + "thresholds: {vendor: {speed: {at_least: 1}}}", "speed is none of the figures"),
        (WORKLOAD + "colour: red", "colour: Extra inputs"),
    ],
)
def test_a_workload_that_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        workload(tmp_path, text=text)


def test_nodes_come_from_dumps_too(tmp_path: Path) -> None:
    """A path is read as an output of `nvidia-smi topo -m`, relative to the workload's folder."""
    (tmp_path / "pair.txt").write_text("\tGPU0\tGPU1\nGPU0\t X \tNV2\nGPU1\tNV2\t X \n")
    nodes = workload(tmp_path, text=WORKLOAD.replace("dgx-1v: 1", "pair.txt: 2")).scenario("small").machines
    assert list(nodes) == ["pair-0000", "pcie-8-0000", "pair-0001"]
    assert len(nodes["pair-0001"]) == 2


def test_a_machine_that_is_neither_profile_nor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither a readable file nor a machine profile"):
        workload(tmp_path, text=WORKLOAD.replace("dgx-1v", "dgx-9")).scenario("small")


def test_the_jobs_of_a_workload_come_at_its_load(tmp_path: Path) -> None:
    """GPU-seconds asked for over those of 16 GPUs while jobs arrive, with rests at both ends."""
    jobs = workload(tmp_path).scenario("small").jobs(seed=1)
    asked = sum(job.duration_s * job.gpus for job in jobs)
    assert asked / 16 / jobs[-1].arrival_s == pytest.approx(0.9)


def test_jobs_of_a_trace_are_found_beside_the_workload(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("arrival_s,duration_s,gpus\n1,2,3\n")
    text = WORKLOAD.replace("generator: itp, count: 40", "trace: jobs.csv").replace("load: 0.9\n", "")
    (only,) = workload(tmp_path, text=text).scenario("small").jobs(seed=1)
    assert (only.arrival_s, only.duration_s, only.gpus) == (1, 2, 3)


def test_a_threshold_that_is_not_kept_is_reported(tmp_path: Path) -> None:
    strict = workload(tmp_path, "thresholds: {vendor: {best_class_share: {at_least: 2}, slowdown_mean: {at_most: 9}}}")
    (broken,) = strict.broken_thresholds(compare(strict.scenario("small"), ["vendor"], 1))
    assert broken.startswith("small: vendor: best_class_share is ")
    assert broken.endswith("which should be at least 2")
