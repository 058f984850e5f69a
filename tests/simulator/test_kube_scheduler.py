"""kube-scheduler's own scores, computed by hand from the formulas of v1.36."""

from simulator.kube_scheduler import NOTHING, Resources, default_score, fits, total_score

NODE = Resources(cpu_millis=100_000, memory_mib=1000, gpus=8)


def test_an_empty_node_scores_what_the_pod_leaves_of_it() -> None:
    """A tenth of both: 90 for the least allocated, and 75 since the balance does not change."""
    assert default_score(NODE, NOTHING, Resources(10_000, 100, 1)) == 90 + 75


def test_a_fuller_node_scores_less() -> None:
    """The default profile spreads."""
    pod = Resources(10_000, 100, 1)
    assert default_score(NODE, Resources(50_000, 500, 4), pod) == 40 + 75


def test_gpus_do_not_count() -> None:
    """Only cpu and memory are scored by default."""
    pod = Resources(10_000, 100, 1)
    assert default_score(NODE, Resources(0, 0, 7), pod) == default_score(NODE, NOTHING, pod)


def test_a_pod_that_unbalances_a_node_loses_points_there() -> None:
    """Half of the cpu and no memory deviate by a quarter: half of those 25 points are lost, rounded down."""
    assert default_score(NODE, NOTHING, Resources(50_000, 0, 1)) == 75 + 62


def test_a_node_fits_up_to_its_last_gpu() -> None:
    """And no further."""
    assert fits(NODE, Resources(0, 0, 6), Resources(0, 0, 2))
    assert not fits(NODE, Resources(0, 0, 7), Resources(0, 0, 2))


def test_an_extenders_point_is_worth_ten_times_its_weight() -> None:
    """0 to 10 is stretched to 0 to 100."""
    assert total_score(in_tree=165, extender=10, weight=9) == 165 + 900
