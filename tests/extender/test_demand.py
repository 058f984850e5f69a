"""Which request sizes are expected next."""

from hypothesis import given
from hypothesis import strategies as st

from extender.demand import DRIFT, LearntDemand
from extender.ledger import Ledger
from gpu_topology.placement import DEFAULT_DEMAND, Demand
from gpu_topology.request import ContainerRequest, GpuRequest
from tests.extender.builders import bridged, node, pod


def asking(*sizes: int) -> GpuRequest:
    """A request with a container of each size."""
    return GpuRequest(tuple(ContainerRequest(f"c{place}", size) for place, size in enumerate(sizes)))


def share(demand: Demand, size: int) -> float:
    """How often a size is expected."""
    return dict(demand.shares).get(size, 0.0)


def test_before_any_pod_the_default_is_expected() -> None:
    """It is documented where it is defined."""
    assert LearntDemand().current == DEFAULT_DEMAND


def test_a_few_pods_do_not_change_what_is_expected() -> None:
    """What is remembered of nodes would be thrown away with each."""
    demand = LearntDemand()
    demand.add(asking(8))
    assert not demand.relearn()
    assert demand.current == DEFAULT_DEMAND


def test_many_pods_outweigh_the_default() -> None:
    """A cluster whose pods ask for eight GPUs expects more of them."""
    demand = LearntDemand()
    demand.replace([asking(8)] * 1000)
    assert demand.relearn()
    assert share(demand.current, 8) > 0.9


def test_each_container_counts_by_itself() -> None:
    """A set is chosen for each."""
    demand = LearntDemand()
    demand.replace([asking(2, 4)] * 1000)
    demand.relearn()
    assert abs(share(demand.current, 2) - share(demand.current, 4)) < DRIFT


def test_a_demand_that_is_given_stays() -> None:
    """Experiments say what they expect."""
    fixed = Demand.of({2: 1})
    demand = LearntDemand(fixed)
    demand.replace([asking(8)] * 1000)
    assert not demand.relearn()
    assert demand.current == fixed


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=300))
def test_what_is_learnt_is_never_far_from_what_is_used(steps: list[tuple[bool, int]]) -> None:
    """Whatever comes and goes."""
    demand = LearntDemand()
    present: list[int] = []
    for comes, size in steps:
        if comes or not present:
            present.append(size)
            demand.add(asking(size))
        else:
            demand.remove(asking(present.pop()))
        demand.relearn()
    fresh = LearntDemand()
    fresh.replace(asking(size) for size in present)
    fresh.relearn()
    sizes = {size for size, _ in (*demand.current.shares, *fresh.current.shares)}
    assert sum(abs(share(demand.current, n) - share(fresh.current, n)) for n in sizes) / 2 <= 2 * DRIFT


def test_the_books_learn_from_the_pods_that_hold_gpus() -> None:
    """And a restart learns the same from the list."""
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(4))])
    ledger.replace_pods([pod(f"p{number}", 4, on="elsewhere") for number in range(500)])
    assert share(ledger.demand, 4) > 0.5
    for number in range(500):
        ledger.forget_pod(f"team/p{number}")
    assert abs(share(ledger.demand, 4) - share(DEFAULT_DEMAND, 4)) <= DRIFT
