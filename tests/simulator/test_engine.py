"""The events of a simulation: queueing, starting, ending."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cluster import Cluster
from simulator.engine import simulate
from simulator.jobs import Job
from simulator.policies import POLICIES
from tests.simulator.clusters import as_long_as_said, cluster, job, play


def test_a_job_starts_when_it_arrives_if_there_is_room() -> None:
    outcome = play(cluster("pcie-8"), [job("a", 4, arrival_s=3)])["a"]
    assert (outcome.started_s, outcome.ended_s) == (3, 13)


def test_a_job_waits_until_enough_gpus_are_free() -> None:
    outcomes = play(cluster("pcie-8"), [job("a", 6), job("b", 4, arrival_s=1)])
    assert outcomes["b"].started_s == 10


def test_a_job_that_fits_passes_one_that_does_not() -> None:
    """kube-scheduler sets a pod aside that finds no node, and goes on with the next."""
    jobs = [job("a", 6), job("large", 8, arrival_s=1), job("small", 2, arrival_s=2, duration_s=5)]
    outcomes = play(cluster("pcie-8"), jobs)
    assert outcomes["small"].started_s == 2
    assert outcomes["large"].started_s == 10


def test_of_two_jobs_that_wait_the_older_one_starts_first() -> None:
    jobs = [job("a", 8), job("older", 8, arrival_s=1), job("younger", 8, arrival_s=2)]
    outcomes = play(cluster("pcie-8"), jobs)
    assert (outcomes["older"].started_s, outcomes["younger"].started_s) == (10, 20)


def test_what_ends_at_a_moment_makes_room_for_what_arrives_then() -> None:
    outcomes = play(cluster("pcie-8"), [job("a", 8), job("b", 8, arrival_s=10)])
    assert outcomes["b"].started_s == 10


def test_the_pods_of_a_job_start_together_or_not_at_all() -> None:
    """Sixteen GPUs are two pods of eight; one node is half taken until 10 s."""
    nodes = cluster("pcie-8", "hgx-h100")
    outcomes = play(nodes, [job("a", 4), job("wide", 16, arrival_s=1), job("b", 8, arrival_s=2, duration_s=1)])
    assert outcomes["b"].started_s == 2
    assert outcomes["wide"].started_s == 10
    assert {held.node.name for held in outcomes["wide"].held} == set(nodes.nodes)


def test_a_job_that_no_node_can_hold_is_left_out() -> None:
    assert set(play(cluster("pcie-8"), [job("huge", 16, largest_pod=16), job("a", 1)])) == {"a"}


def test_the_observer_sees_every_moment() -> None:
    seen: list[tuple[float, int, int]] = []

    def observe(now: float, nodes: Cluster, waiting: int) -> None:
        seen.append((now, nodes.free_gpus, waiting))

    jobs = [job("a", 8), job("b", 8, arrival_s=4)]
    simulate(cluster("pcie-8"), jobs, POLICIES["first-fit"].make(1), as_long_as_said, observe)
    assert seen == [(0, 0, 0), (4, 0, 1), (10, 0, 0), (20, 8, 0)]


JOBS = st.lists(
    st.builds(
        lambda number, gpus, arrival, duration: job(f"job-{number}", gpus, arrival, duration),
        st.integers(0, 10**9),
        st.integers(1, 12),
        st.integers(0, 40),
        st.integers(0, 30),
    ),
    max_size=15,
    unique_by=lambda found: found.name,
).map(lambda jobs: sorted(jobs, key=lambda found: found.arrival_s))


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=15, deadline=None)
@given(jobs=JOBS)
def test_no_gpu_is_held_twice_and_every_job_runs_to_its_end(policy: str, jobs: list[Job]) -> None:
    """Whoever decides."""
    nodes = cluster("dgx-1v", "pcie-8", policy=policy)
    outcomes = play(nodes, jobs, policy)
    assert len(outcomes) == len(jobs)
    assert nodes.free_gpus == nodes.gpus
    spans = [
        (outcome.started_s, outcome.ended_s, held.node.name, held.gpus)
        for outcome in outcomes.values()
        for held in outcome.held
    ]
    for index, (start, end, node, gpus) in enumerate(spans):
        for other_start, other_end, other_node, others in spans[:index]:
            if node == other_node and start < other_end and other_start < end:
                assert gpus & others == 0
    for outcome in outcomes.values():
        assert sum(held.gpus.bit_count() for held in outcome.held) == outcome.job.gpus
        assert outcome.started_s >= outcome.job.arrival_s
