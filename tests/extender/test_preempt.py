"""Whom the extender lets kube-scheduler evict."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.ledger import Ledger
from extender.preempt import EXACT_VICTIMS, choose_victims, frees_itself, nominated_node_of
from extender.wire import Victims
from gpu_topology.contract import Allocation
from gpu_topology.placement import assess, mask_of, tables_of
from gpu_topology.request import GpuRequest, request_of
from gpu_topology.slices import SlicePool
from gpu_topology.topology import NodeTopology
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, switched

PAIR = request_of(pod(gpus=2, require="nvlink"))


def books(topology: NodeTopology, sizes: Iterable[Iterable[int]], **state: Any) -> Ledger:
    """A node "n" on which pod p0 has the first of these sets of GPUs, p1 the second and so on."""
    ledger = Ledger()
    held = [holder(f"p{number}", gpus) for number, gpus in enumerate(sizes)]
    ledger.replace_nodes([node("n", topology, held=held, **state)])
    for number, each in enumerate(held):
        ledger.apply_pod(pod(f"p{number}", len(each.gpus), on="n"))
    return ledger


def victims(*numbers: int, pdb_violations: int = 0) -> Victims:
    """These pods, the most important first."""
    return Victims(tuple(f"uid-of-p{number}" for number in numbers), pdb_violations)


def chosen(ledger: Ledger, request: GpuRequest, offered: Victims) -> Victims | None:
    """Whom to evict on the node "n"; None if it was dropped."""
    return choose_victims(ledger, request, {"n": offered}).get("n")


def test_victims_whose_gpus_are_linked_are_kept() -> None:
    ledger = books(bridged(4), [[0], [1], [2], [3]])
    assert chosen(ledger, PAIR, victims(2, 3)) == victims(2, 3)


def test_a_node_where_only_unlinked_gpus_would_become_free_is_dropped() -> None:
    ledger = books(bridged(4), [[0], [1], [2], [3]])
    assert choose_victims(ledger, PAIR, {"n": victims(1, 2)}) == {}


def test_victims_whose_leaving_does_not_help_are_spared() -> None:
    ledger = books(bridged(6), [[0], [1], [2], [3], [4], [5]])
    assert chosen(ledger, PAIR, victims(0, 2, 4, 5)) == victims(4, 5)


def test_the_fewest_are_kept() -> None:
    ledger = books(bridged(6), [[0], [1], [2, 3], [4], [5]])
    assert chosen(ledger, PAIR, victims(2, 0, 1)) == victims(2)


def test_of_equally_many_the_least_important_are_kept() -> None:
    """What counts first is the most important of those that have to go."""
    ledger = books(bridged(8), [[0], [1], [2], [3], [4], [5], [6], [7]])
    assert chosen(ledger, PAIR, victims(0, 4, 2, 3, 5, 1)) == victims(2, 3)


def test_victims_without_gpus_are_kept_because_kube_scheduler_wants_something_else_of_them() -> None:
    ledger = books(bridged(6), [[0], [1], [2], [3], [4], [5]])
    offered = Victims(("uid-of-a-pod-with-many-cpus", *victims(0, 2, 3).uids))
    assert chosen(ledger, PAIR, offered) == Victims(("uid-of-a-pod-with-many-cpus", *victims(2, 3).uids))


def test_where_the_gpus_are_free_already_all_victims_are_kept() -> None:
    ledger = books(bridged(4), [[0]])
    assert chosen(ledger, PAIR, victims(0)) == victims(0)


def test_a_node_without_victims_is_not_named() -> None:
    assert choose_victims(books(bridged(4), []), PAIR, {"n": victims()}) == {}


def test_as_many_violations_are_passed_on_as_there_may_be() -> None:
    ledger = books(bridged(6), [[0], [1], [2], [3], [4], [5]])
    assert chosen(ledger, PAIR, victims(0, 2, 4, 5, pdb_violations=1)) == victims(4, 5, pdb_violations=1)
    assert chosen(ledger, PAIR, victims(0, 2, 4, 5, pdb_violations=3)) == victims(4, 5, pdb_violations=2)


def test_without_hard_wishes_only_the_count_matters() -> None:
    ledger = books(plain(4), [[0], [1], [2], [3]])
    assert chosen(ledger, request_of(pod(gpus=2)), victims(0, 1, 2)) == victims(1, 2)


def test_gpus_out_of_service_do_not_become_free() -> None:
    ledger = books(bridged(4), [[0], [1], [2], [3]], unhealthy={2: "XID 79"}, free=[])
    assert chosen(ledger, PAIR, victims(2, 3)) is None


def test_pods_that_are_only_expected_to_hold_gpus_can_be_evicted() -> None:
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(2))])
    ledger.apply_pod(pod("p0", 2, on="n"))
    assert chosen(ledger, PAIR, victims(0)) == victims(0)


def test_an_earlier_pod_of_the_same_name_still_holds_its_gpus() -> None:
    """The report shows a pod of another UID, whose record in the API is gone already."""
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(2), held=[holder("p0", [0], uid="an-earlier-one")])])
    ledger.apply_pod(pod("p0", 1, on="n"))
    assert chosen(ledger, PAIR, victims(0)) is None


def test_the_vendors_plugin_must_not_be_able_to_pick_another_set() -> None:
    """Behind an NVSwitch all sets are alike; with bridges the plugin takes the pair, which it values most."""
    apart = books(bridged(4), [[0], [1], [2], [3]], allocation=Allocation.VENDOR)
    assert chosen(apart, PAIR, victims(0, 1, 2)) == victims(0, 1)


def test_an_unknown_node_stays_for_a_pod_without_hard_wishes_only() -> None:
    ledger = Ledger()
    ledger.replace_nodes([bare_node("n")])
    assert chosen(ledger, request_of(pod(gpus=2)), victims(0, 1)) == victims(0, 1)
    assert chosen(ledger, PAIR, victims(0, 1)) is None
    assert choose_victims(ledger, PAIR, {"never-seen": victims(0)}) == {}


def test_a_pod_without_gpus_is_none_of_our_business() -> None:
    ledger = books(bridged(2), [[0, 1]])
    assert chosen(ledger, GpuRequest(), victims(0)) == victims(0)


def test_for_slices_kube_schedulers_count_is_all_there_is() -> None:
    ledger = Ledger()
    slices = (SlicePool("nvidia.com/gpu.shared", 0, 4, 0),)
    ledger.replace_nodes([node("n", bridged(4), free=[], held=[holder("p1", [2]), holder("p2", [3])], slices=slices)])
    for number in (1, 2):
        ledger.apply_pod(pod(f"p{number}", 1, on="n"))
    asking = pod()
    asking["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu.shared": "1"}}
    assert chosen(ledger, request_of(asking), victims(0)) == victims(0)
    asking["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "1"
    assert chosen(ledger, request_of(asking), victims(1, 0, 2)) == victims(1, 0, 2)
    assert chosen(ledger, request_of(asking), victims(0)) is None


def test_many_victims_are_let_off_one_by_one() -> None:
    count = EXACT_VICTIMS + 2
    ledger = books(bridged(count), [[gpu] for gpu in range(count)])
    assert chosen(ledger, PAIR, victims(*range(count))) == victims(count - 2, count - 1)
    assert chosen(ledger, request_of(pod(gpus=3, require="nvlink")), victims(*range(count))) is None


def free_after(topology: NodeTopology, held: list[list[int]], uids: Iterable[str]) -> int:
    """The mask of the free GPUs once these pods have left."""
    left = {f"uid-of-p{number}" for number in range(len(held))} - set(uids)
    taken = {gpu for number, gpus in enumerate(held) if f"uid-of-p{number}" in left for gpu in gpus}
    return mask_of(gpu for gpu in range(len(topology)) if gpu not in taken)


@st.composite
def full_machines(draw: st.DrawFn) -> tuple[NodeTopology, list[list[int]]]:
    """A machine with up to eight GPUs, and which of them each of its pods has; some are free."""
    topology = draw(st.sampled_from([bridged(8), bridged(6), plain(5), switched(8)]))
    order = draw(st.permutations(range(len(topology))))
    held: list[list[int]] = []
    while order:
        size = draw(st.integers(1, min(3, len(order))))
        held.append(sorted(order[:size]))
        order = order[size:]
    return topology, held[: draw(st.integers(1, len(held)))]


@given(
    machine=full_machines(),
    gpus=st.integers(1, 6),
    wish=st.sampled_from([{}, {"require": "nvlink"}, {"min_bandwidth_gbps": "30"}]),
    allocation=st.sampled_from(Allocation),
    data=st.data(),
)
def test_the_choice_is_what_trying_all_subsets_gives(
    machine: tuple[NodeTopology, list[list[int]]],
    gpus: int,
    wish: dict[str, Any],
    allocation: Allocation,
    data: st.DataObject,
) -> None:
    """A part of what was offered, enough, the smallest such part, and of these the least important one."""
    topology, held = machine
    ledger = books(topology, held, allocation=allocation)
    request = request_of(pod(gpus=gpus, **wish))
    offered = victims(*data.draw(st.permutations(range(len(held))))[: data.draw(st.integers(1, len(held)))])

    def enough(uids: Iterable[str]) -> bool:
        free = free_after(topology, held, uids)
        return assess(tables_of(topology), free, request, allocation).refusal is None

    found = chosen(ledger, request, offered)
    subsets = [set(uids) for size in range(len(offered.uids) + 1) for uids in combinations(offered.uids, size)]
    sufficient = [uids for uids in subsets if enough(uids)]
    if not sufficient:
        assert found is None
    elif enough(()):
        assert found == offered
    else:
        assert found is not None
        assert found.uids == tuple(uid for uid in offered.uids if uid in found.uids)
        smallest = [uids for uids in sufficient if len(uids) == len(sufficient[0])]
        assert set(found.uids) in smallest
        importance = {uid: place for place, uid in enumerate(reversed(offered.uids))}
        least = min(sorted((importance[uid] for uid in uids), reverse=True) for uids in smallest)
        assert sorted((importance[uid] for uid in found.uids), reverse=True) == least


def test_a_node_frees_itself_when_those_who_left_are_only_in_its_report() -> None:
    ledger = books(bridged(4), [[0], [1], [2], [3]])
    assert not frees_itself(ledger, PAIR, "n")
    ledger.forget_pod("team/p0")
    assert not frees_itself(ledger, PAIR, "n")
    ledger.forget_pod("team/p1")
    assert frees_itself(ledger, PAIR, "n")
    assert not frees_itself(ledger, PAIR, "never-seen")


def test_a_node_whose_report_is_up_to_date_does_not_free_itself() -> None:
    """Whatever keeps the pod from it is something else."""
    assert not frees_itself(books(bridged(4), []), PAIR, "n")


@pytest.mark.parametrize("status", [None, "", {}, {"nominatedNodeName": None}, {"nominatedNodeName": ""}, [1]])
def test_a_pod_for_which_nobody_was_evicted_has_no_nominated_node(status: Any) -> None:
    assert nominated_node_of({"status": status}) is None


def test_the_nominated_node_is_read_from_the_pods_status() -> None:
    assert nominated_node_of({"status": {"nominatedNodeName": "n"}}) == "n"
