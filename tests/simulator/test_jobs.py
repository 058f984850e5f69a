"""Traces and generators."""

from pathlib import Path

import pytest

from gpu_topology.errors import SettingsError
from simulator.generators import DISTRIBUTIONS, generate, with_communication
from simulator.jobs import Job, pod_of, read_trace, split, with_load
from simulator.speed import MEASURED_RATIOS


def trace(folder: Path, text: str) -> list[Job]:
    file = folder / "trace.csv"
    file.write_text(text)
    return read_trace(file, [8, 8, 8])


def test_a_row_is_a_job(tmp_path: Path) -> None:
    (only,) = trace(tmp_path, "arrival_s,duration_s,gpus\n5,60,2\n")
    assert only == Job("job-2", 5, 60, (pod_of(2),))


def test_a_row_with_more_gpus_than_a_node_becomes_several_pods(tmp_path: Path) -> None:
    (only,) = trace(tmp_path, "arrival_s,duration_s,gpus,vc\n5,60,20,x\n")
    assert only.pods == (pod_of(8), pod_of(8), pod_of(4))


def test_rows_of_one_group_are_one_job(tmp_path: Path) -> None:
    """It arrives with its last pod, and runs as long as its longest."""
    jobs = trace(tmp_path, "arrival_s,duration_s,gpus,group\n5,60,2,a\n6,10,1,\n7,50,4,a\n8,10,1,\n")
    assert [(found.arrival_s, found.duration_s, found.gpus) for found in jobs] == [(6, 10, 1), (7, 60, 6), (8, 10, 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arrival_s,duration_s,gpus\n", "no jobs"),
        ("arrival_s,gpus\n1,1\n", "no column duration_s"),
        ("arrival_s,duration_s,gpus\n1,soon,1\n", "line 2: duration_s is 'soon', which is not a number"),
        ("arrival_s,duration_s,gpus\n1,2,1\n1,2\n", "line 3: gpus is None"),
        ("arrival_s,duration_s,gpus\n1,2,0\n", "gpus must be a whole number"),
        ("arrival_s,duration_s,gpus\n1,2,1.5\n", "gpus must be a whole number"),
        ("arrival_s,duration_s,gpus\n-1,2,1\n", "must be 0 or more"),
        ("arrival_s,duration_s,gpus\n1,nan,1\n", "must be 0 or more"),
    ],
)
def test_a_trace_that_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        trace(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,1\n1,2,32\n", r"trace.csv, line 3: the job asks for 32 GPUs, but the cluster has 24"),
        ("1,2,8,a\n1,2,8,a\n1,2,4,a\n1,2,8,a\n", "line 2: the job asks for 28 GPUs"),
        ("1,2,5,a\n" * 4, "line 2: the job has 4 pods of 5 GPUs or more, but the nodes have room for 3"),
    ],
)
def test_a_job_that_the_empty_cluster_cannot_hold_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        trace(tmp_path, f"arrival_s,duration_s,gpus,group\n{text}")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(b"arrival_s,duration_s,gpus\n\xff\xfe,1,1\n")
    with pytest.raises(SettingsError, match="is not CSV"):
        read_trace(file, [8])


def test_sizes_that_the_cluster_cannot_hold_are_not_drawn() -> None:
    """The Philly trace has jobs with 32 GPUs."""
    assert max(found.gpus for found in generate(DISTRIBUTIONS["philly"], 4000, [8, 8], seed=1)) == 16


def test_a_trace_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_trace(tmp_path / "none.csv", [8])


def test_a_load_sets_the_pace_of_arrivals() -> None:
    """100 s on 4 GPUs twice, at half load on 8 GPUs, take 200 s to arrive."""
    jobs = [Job("a", 10, 100, split(4, 8)), Job("b", 11, 100, split(4, 8))]
    assert [found.arrival_s for found in with_load(jobs, 0.5, 8)] == [0, 200]


def test_a_load_needs_time_between_arrivals() -> None:
    with pytest.raises(SettingsError, match="all arrive at once"):
        with_load([Job("a", 1, 100, split(4, 8))], 0.5, 8)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_generated_jobs_are_distributed_as_the_published_ones(name: str) -> None:
    """The share of single GPUs, and the median duration of those."""
    distribution = DISTRIBUTIONS[name]
    jobs = generate(distribution, 4000, [8] * 4, seed=1)
    singles = sorted(found.duration_s for found in jobs if found.gpus == 1)
    weights = [size.weight for size in distribution.sizes.values()]
    assert len(singles) / len(jobs) == pytest.approx(distribution.sizes[1].weight / sum(weights), abs=0.03)
    assert singles[len(singles) // 2] == pytest.approx(distribution.sizes[1].median_s, rel=0.2)
    assert singles[-1] <= distribution.longest_s
    assert jobs == sorted(jobs, key=lambda found: found.arrival_s)


def test_the_same_seed_draws_the_same_jobs() -> None:
    one, same, other = (generate(DISTRIBUTIONS["itp"], 50, [8], seed) for seed in (1, 1, 2))
    assert one == same != other


def test_jobs_communicate_as_much_as_was_measured() -> None:
    jobs = with_communication([Job(str(number), 0, 1, split(2, 8)) for number in range(200)], seed=1)
    assert {found.communication for found in jobs} == set(MEASURED_RATIOS)
