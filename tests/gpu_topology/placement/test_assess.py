"""What a pod would get on a node, and why it cannot go there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_topology.contract import Allocation
from gpu_topology.errors import PlacementError
from gpu_topology.placement import Assessment, LinkTables, RefusalKind, assess, mask_of, tables_of, vendor_pick
from gpu_topology.placement.vendor import predict
from gpu_topology.request import Communication, ContainerKind, ContainerRequest, GpuRequest, Require, Wishes
from gpu_topology.topology import NodeTopology
from tests.gpu_topology.machines import V100, bridged_pairs, dgx_1v, machine, machines, nvswitch_box, pcie_box

BEST, VENDOR = Allocation.BEST, Allocation.VENDOR


def pod(*sizes: int, kind: ContainerKind = ContainerKind.MAIN, wishes: Wishes | None = None) -> GpuRequest:
    """One container for each size, named c0, c1...; the kind is the first one's."""
    containers = [
        ContainerRequest(f"c{index}", size, kind if index == 0 else ContainerKind.MAIN)
        for index, size in enumerate(sizes)
    ]
    return GpuRequest(tuple(containers), wishes or Wishes())


def refusal(assessment: Assessment) -> tuple[RefusalKind, str, bool]:
    assert assessment.refusal is not None
    return assessment.refusal.kind, assessment.refusal.message, assessment.refusal.unresolvable


def test_a_pod_gets_the_best_set_and_costs_what_is_left() -> None:
    assessment = assess(tables_of(bridged_pairs()), 0xFF, pod(2), BEST)
    assert assessment.refusal is None
    assert assessment.worth is not None
    assert assessment.worth.bandwidth_gbps == pytest.approx(274.8)
    assert assessment.containers == (("c0", (0, 1)),)
    assert assessment.leftover < -1
    assert assessment.predictable
    assert assessment.communication is Communication.HEAVY


def test_a_pod_without_gpus_is_served_everywhere_and_costs_nothing() -> None:
    assessment = assess(tables_of(dgx_1v()), 0, GpuRequest(), VENDOR)
    assert (assessment.refusal, assessment.worth, assessment.leftover) == (None, None, 0.0)


def test_pods_that_differ_in_names_alone_get_the_same_answer() -> None:
    tables = tables_of(dgx_1v())
    named = GpuRequest((ContainerRequest("trainer", 2),))
    assert assess(tables, 0xFF, named, BEST).containers[0][1] == assess(tables, 0xFF, pod(2), BEST).containers[0][1]
    assert assess(tables, 0xFF, named, BEST).containers[0][0] == "trainer"


@pytest.mark.parametrize("free", [0x1FF, -1])
def test_gpus_that_the_node_does_not_have_cannot_be_free(free: int) -> None:
    with pytest.raises(PlacementError, match="not all among the node's 8"):
        assess(tables_of(dgx_1v()), free, pod(2), BEST)


@settings(max_examples=40, deadline=None)
@given(machines(), st.data())
def test_placing_a_pod_never_adds_to_the_node(topology: NodeTopology, data: st.DataObject) -> None:
    tables = tables_of(topology)
    free = data.draw(st.integers(1, tables.graph.everything))
    size = data.draw(st.integers(1, free.bit_count()))
    assert assess(tables, free, pod(size), BEST).leftover <= 0


@settings(max_examples=40, deadline=None)
@given(machines(), st.data())
def test_the_vendor_never_promises_more_than_the_best_set(topology: NodeTopology, data: st.DataObject) -> None:
    tables = tables_of(topology)
    free = data.draw(st.integers(1, tables.graph.everything))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3).filter(lambda s: sum(s) <= free.bit_count()))
    best, worst = (assess(tables, free, pod(*sizes), allocation).worth for allocation in (BEST, VENDOR))
    assert best is not None
    assert worst is not None
    if len(sizes) == 1:
        assert worst <= best


class TestCounts:
    def test_gpus_that_are_busy_can_be_freed(self) -> None:
        message = "3 of 8 GPUs free, 4 asked for"
        assert refusal(assess(tables_of(dgx_1v()), 0b111, pod(4), BEST)) == (RefusalKind.TOO_FEW_FREE, message, False)

    def test_gpus_that_the_node_does_not_have_cannot(self) -> None:
        message = "8 of 8 GPUs free, 9 asked for"
        assert refusal(assess(tables_of(dgx_1v()), 0xFF, pod(9), BEST)) == (RefusalKind.TOO_FEW_FREE, message, True)

    def test_gpus_that_are_unhealthy_cannot_either_and_are_counted(self) -> None:
        assessment = assess(tables_of(dgx_1v()), 0x7F, pod(8), BEST, usable=0x7F)
        message = "7 of 8 GPUs free, 8 asked for, one is unhealthy or cordoned"
        assert refusal(assessment) == (RefusalKind.TOO_FEW_FREE, message, True)

    def test_containers_are_counted_together(self) -> None:
        assert refusal(assess(tables_of(dgx_1v()), 0b111, pod(2, 2), BEST))[0] is RefusalKind.TOO_FEW_FREE


class TestHardWishes:
    def test_too_slow_for_ever(self) -> None:
        assessment = assess(tables_of(dgx_1v()), 0xFF, pod(4, wishes=Wishes(min_bandwidth_gbps=100)), BEST)
        message = "no set of 4 reaches 100 GB/s: the best has 23.9"
        assert refusal(assessment) == (RefusalKind.BANDWIDTH, message, True)

    def test_too_slow_at_present(self) -> None:
        assessment = assess(tables_of(bridged_pairs()), 0b0101, pod(2, wishes=Wishes(min_bandwidth_gbps=100)), BEST)
        assert refusal(assessment)[0] is RefusalKind.BANDWIDTH
        assert not refusal(assessment)[2]

    def test_too_slow_for_ever_because_a_gpu_is_unhealthy(self) -> None:
        wishes = Wishes(min_bandwidth_gbps=100)
        assessment = assess(tables_of(bridged_pairs(1)), 0b01, pod(1, wishes=wishes), BEST, usable=0b01)
        assert assessment.refusal is None
        assessment = assess(tables_of(bridged_pairs(2)), 0b0101, pod(2, wishes=wishes), BEST, usable=0b0101)
        assert refusal(assessment)[2]

    @pytest.mark.parametrize(
        ("require", "size", "message"),
        [
            (Require.NUMA, 5, "no 5 free GPUs are known to share a NUMA node"),
            (Require.PCIE_SWITCH, 3, "no 3 free GPUs are known to be under one PCIe switch"),
            (Require.NVLINK, 2, "no 2 free GPUs are all linked by NVLink"),
        ],
    )
    def test_nothing_in_common(self, require: Require, size: int, message: str) -> None:
        assessment = assess(tables_of(pcie_box()), 0xFF, pod(size, wishes=Wishes(require=require)), BEST)
        assert refusal(assessment) == (RefusalKind.REQUIRE, message, True)

    def test_what_a_dump_hides_is_said(self) -> None:
        assessment = assess(tables_of(dgx_1v()), 0xFF, pod(2, wishes=Wishes(require=Require.PCIE_SWITCH)), BEST)
        assert refusal(assessment)[1].endswith(": the PCIe paths between some are unknown")

    def test_the_best_of_the_sets_that_keep_a_wish_is_chosen(self) -> None:
        wishes = Wishes(require=Require.NUMA)
        assessment = assess(tables_of(pcie_box()), 0b1111_0001, pod(4, wishes=wishes), BEST)
        assert assessment.containers == (("c0", (4, 5, 6, 7)),)

    def test_each_container_but_not_all_of_them(self) -> None:
        """Three cards in a row of NVLinks make two linked pairs, but not at once with a third container's."""
        links = {(0, 1): 1, (1, 2): 1}
        tables = tables_of(machine(4, nvlinks=lambda *pair: links.get(pair, 0), product=V100))
        assessment = assess(tables, 0b1111, pod(2, 2, wishes=Wishes(require=Require.NVLINK)), BEST)
        message = "no way was found to give the containers (2, 2 GPUs) sets that all keep the pod's wishes"
        assert refusal(assessment) == (RefusalKind.COMBINATION, message, False)

    def test_the_vendors_plugin_may_pick_a_set_that_breaks_a_wish(self) -> None:
        """It divides all free GPUs, and behind an NVSwitch sees PCIe alone."""
        free = mask_of([0, 1, 2, 4, 5, 6])
        tables, wishes = tables_of(nvswitch_box()), Wishes(require=Require.NUMA)
        assert assess(tables, free, pod(3, wishes=wishes), BEST).refusal is None
        outcomes = predict(tables.graph.vendor_scores, free, 3).outcomes
        kept = all(tables.meets(Require.NUMA, tables.candidates(gpus, 3))[0] for gpus in outcomes)
        assert (assess(tables, free, pod(3, wishes=wishes), VENDOR).refusal is None) == kept

    def test_a_refusal_for_the_vendors_choice_names_it(self) -> None:
        tables = tables_of(slow_choice())
        assessment = assess(tables, 0b1111, pod(2, wishes=Wishes(min_bandwidth_gbps=100)), VENDOR)
        assert assess(tables, 0b1111, pod(2, wishes=Wishes(min_bandwidth_gbps=100)), BEST).refusal is None
        kind, message, unresolvable = refusal(assessment)
        assert kind is RefusalKind.VENDOR_CHOICE
        assert message == "the vendor's device plugin may pick GPUs 0, 1, which reach 12.1 GB/s of 100"
        assert not unresolvable


def slow_choice() -> NodeTopology:
    """NVLinks that the vendor's plugin does not see, and PCIe that leads it elsewhere."""
    return machine(4, nvlinks=lambda first, second: 18 if (first, second) in {(0, 2), (1, 3)} else 0, nvswitch=True)


class TestVendor:
    @pytest.mark.parametrize("topology", [dgx_1v(), bridged_pairs(), nvswitch_box(), pcie_box()])
    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_the_worst_of_the_possible_outcomes_counts(self, topology: NodeTopology, size: int) -> None:
        tables = tables_of(topology)
        for free in (0xFF, 0b1011_0111, 0b0110_1110):
            prediction = predict(tables.graph.vendor_scores, free, size, highest=tables.graph.highest_vendor_scores)
            assessment = assess(tables, free, pod(size), VENDOR)
            assert assessment.worth == min(tables.worth(gpus) for gpus in prediction.outcomes)
            assert assessment.predictable == prediction.predictable
            assert mask_of(assessment.containers[0][1]) in prediction.outcomes

    def test_several_containers_are_followed_one_after_the_other(self) -> None:
        """Two pairs of a box of bridged pairs: every course gives two whole pairs."""
        assessment = assess(tables_of(bridged_pairs()), 0xFF, pod(2, 2), VENDOR)
        assert assessment.predictable
        assert assessment.worth is not None
        assert assessment.worth.bandwidth_gbps == pytest.approx(274.8)
        first, second = (gpus for _, gpus in assessment.containers)
        assert not set(first) & set(second)

    def test_too_many_courses_give_a_bound(self) -> None:
        tables = tables_of(nvswitch_box())
        assessment = assess(tables, 0xFF, pod(1, 1, 1, 1, 2), VENDOR)
        assert not assessment.predictable
        assert assessment.containers == ()
        assert assessment.worth is not None
        assert assessment.worth.bandwidth_gbps == pytest.approx(376.2)
        assert -8 < assessment.leftover < -6

    def test_what_an_init_container_leaves_over_is_not_predicted(self) -> None:
        assessment = assess(tables_of(bridged_pairs()), 0xFF, pod(4, 2, kind=ContainerKind.INIT), VENDOR)
        assert not assessment.predictable
        assert assessment.worth is not None
        assert assessment.worth.bandwidth_gbps < 30

    def test_an_init_container_of_the_same_size_is_reused_whole(self) -> None:
        assessment = assess(tables_of(bridged_pairs()), 0xFF, pod(2, 2, kind=ContainerKind.INIT), VENDOR)
        assert assessment.predictable
        assert len({gpus for _, gpus in assessment.containers}) == 1

    def test_its_pick_from_one_list(self) -> None:
        tables: LinkTables = tables_of(bridged_pairs())
        assert set(vendor_pick(tables, range(8), 2)) in ({0, 1}, {2, 3}, {4, 5}, {6, 7})


def test_the_choice_of_a_larger_init_container_is_not_predicted() -> None:
    """The kubelet hands out its GPUs as it likes, whoever enforces choices."""
    assert not assess(tables_of(bridged_pairs()), 0xFF, pod(4, 2, kind=ContainerKind.INIT), BEST).predictable
    assert assess(tables_of(bridged_pairs()), 0xFF, pod(2, 4, kind=ContainerKind.INIT), BEST).predictable
