"""The published experiments: targets, at the precision at which they were published."""

import pytest

from benchmarks.experiments import amaral, mapa, openb, optimum
from benchmarks.experiments.mapa_machines import Job, Machine, job_lists, machine_of
from benchmarks.experiments.mapa_policies import OURS, POLICIES
from benchmarks.experiments.openb_cluster import Machines, draw, machines
from benchmarks.experiments.published import rows_of
from gpu_topology.errors import SettingsError
from gpu_topology.placement import mask_of
from simulator.kube_scheduler import Resources
from simulator.policies import OURS as OUR_POLICIES
from tests.shared_data import shared
from topology_agent.profiles import load_machine


@pytest.fixture(scope="module")
def published() -> None:
    """The published data lie beside the repository."""
    shared("traces/mapa_jobs.csv")


@pytest.fixture(scope="module")
def mapa_figures(published: None) -> dict[str, mapa.Figures]:  # noqa: ARG001 - for its skip
    return mapa.measure()


@pytest.mark.parametrize("machine", mapa.REPLAYED)
def test_sensitive_jobs_get_at_least_what_mapa_gives_them(mapa_figures: dict[str, mapa.Figures], machine: str) -> None:
    """With the waiting rule: the "preserve" column on every machine."""
    assert round(mapa_figures[machine][OURS]["with_waiting"], 1) >= mapa.REPLAYED[machine]["preserve"]


def test_without_the_waiting_rule_the_dgx_does_better_than_mapa_without_it(
    mapa_figures: dict[str, mapa.Figures],
) -> None:
    assert mapa_figures["dgx-v"][OURS]["without_waiting"] >= 58.0


def test_the_waiting_rule_costs_little_time(mapa_figures: dict[str, mapa.Figures]) -> None:
    """Published: 0.4 to 1.4 % of the makespan."""
    assert all(mapa_figures[machine][OURS]["makespan_growth_percent"] <= 1.4 for machine in mapa.REPLAYED)


def test_the_document_has_our_figures_on_top(mapa_figures: dict[str, mapa.Figures]) -> None:
    document = mapa.document(mapa_figures)
    assert document["dgx-v"]["with_waiting"] == mapa_figures["dgx-v"][OURS]["with_waiting"]
    assert mapa.table(mapa_figures).row_count == len(mapa_figures) * len(POLICIES)


@pytest.fixture(scope="module")
def dgx(published: None) -> Machine:  # noqa: ARG001 - for its skip
    return machine_of("dgx-v")


def test_a_blocked_job_blocks_those_behind_it(dgx: Machine) -> None:
    """Five and five do not fit together; the pair behind them waits too, and all end after 2 + 3 cycles."""
    jobs = [Job(5, 2, sensitive=True), Job(5, 3, sensitive=True), Job(2, 1, sensitive=True)]
    assert mapa.replay(dgx, POLICIES["baseline"], jobs, waiting=False).makespan == 5


def test_a_sensitive_job_waits_for_a_faster_set(dgx: Machine) -> None:
    """First come, GPUs 0 to 5 are taken by insensitive jobs: 6 and 7 have a double link, but 1 and 7 nothing."""
    jobs = [Job(3, 5, sensitive=False), Job(3, 9, sensitive=False), Job(2, 1, sensitive=True)]
    assert mapa.replay(dgx, POLICIES["baseline"], jobs, waiting=True).makespan == 9


def test_the_published_jobs_are_five_lists_of_three_hundred(published: None) -> None:  # noqa: ARG001 - for its skip
    assert [len(jobs) for jobs in job_lists()] == [300] * 5


def test_amarals_pairs_run_as_fast_as_in_one_socket(published: None) -> None:  # noqa: ARG001 - for its skip
    """A tenth of the jobs: the whole is a benchmark."""
    figures = amaral.measure(repeated=1)
    assert all(figures[policy]["mean_slowdown"] <= amaral.TARGET for policy in OUR_POLICIES)
    assert figures["default"]["mean_slowdown"] > 1.05
    assert amaral.table(figures).row_count == len(figures)


@pytest.fixture
def three_nodes() -> Machines:
    """Two machines with eight GPUs, and one whose cpu is enough for two pods only."""
    topologies = {name: load_machine("pcie-8") for name in ("a", "b", "poor")}
    rich, poor = Resources(80, 80, 8), Resources(20, 80, 8)
    return Machines(topologies, {"a": rich, "b": rich, "poor": poor})


@pytest.mark.parametrize("policy", openb.CONTENDERS)
def test_idle_gpus_are_those_that_no_pod_has(three_nodes: Machines, policy: str) -> None:
    """Single GPUs with ten of cpu each: 18 find room, and six GPUs stay idle for want of cpu."""
    assert openb.idle_gpus(openb.CONTENDERS[policy], three_nodes, [Resources(10, 1, 1)], seed=1) == 6


def test_pods_are_drawn_until_they_ask_for_enough() -> None:
    drawn = draw([Resources(1, 1, 2), Resources(1, 1, 8)], 100, seed=1)
    assert 100 <= sum(pod.gpus for pod in drawn) < 108
    assert draw([Resources(1, 1, 2)], 10, seed=1) == [Resources(1, 1, 2)] * 5


def test_the_openb_cluster_has_all_its_gpus(published: None) -> None:  # noqa: ARG001 - for its skip
    found = machines()
    assert (len(found.topologies), found.gpus) == (1213, 6212)


def test_published_data_that_are_missing_are_named() -> None:
    with pytest.raises(SettingsError, match="none is not there"):
        rows_of("none")


def test_the_optimum_knows_what_comes() -> None:
    """Two pairs on a DGX-1: both get two NVLinks."""
    case = optimum.Case(("dgx-1v",), (2, 2))
    assert optimum.optimum(case) == pytest.approx(2 * 47.8)


def test_no_policy_beats_the_optimum_and_ours_comes_near() -> None:
    """On the single machines, whose search is quick."""
    for case in [found for found in optimum.cases() if len(found.machines) == 1][:6]:
        best = optimum.optimum(case)
        for policy in ("extender-best", "vendor", "mapa-preserve"):
            assert optimum.reached(case, policy, seed=1) <= best + 1e-6
        assert optimum.reached(case, "extender-best", seed=1) >= 0.9 * best


def test_masks_of_roots_cover_a_machine_once(dgx: Machine) -> None:
    assert sum(dgx.roots) == mask_of(range(8))
