"""What is told of pods: why they wait, and what they got where they were bound."""

from collections.abc import MutableMapping
from typing import Any

import orjson
import pytest

from extender.app import create_app
from extender.arrivals import Arrivals
from extender.findings import Basis
from extender.ledger import Ledger
from extender.placed import Placed, Quality
from extender.pod_story import Said
from extender.pods import PodIdentity
from extender.service import Service
from gpu_topology.contract import Allocation
from tests.extender.builders import bare_node, bridged, holder, node, pod, sliced_pod, switched
from tests.extender.test_app import client_of, metrics_of


class Told:
    """A `Teller` that remembers."""

    def __init__(self) -> None:
        self.again: list[tuple[str, Said]] = []
        self.once: list[tuple[str, Said]] = []

    def tell(self, pod: PodIdentity, said: Said) -> None:
        self.again.append((pod.key, said))

    def tell_once(self, pod: PodIdentity, said: Said) -> None:
        self.once.append((pod.key, said))


class World:
    """A service, kube-scheduler's questions to it, and the watch of pods."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.ledger = Ledger()
        self.ledger.replace_nodes(nodes)
        self.told = Told()
        self.service = Service(self.ledger, teller=self.told)

    def filter(self, asked: dict[str, Any]) -> None:
        self.service.filter(orjson.dumps({"Pod": asked, "NodeNames": self.ledger.nodes}))

    def seen(self, bound: dict[str, Any]) -> None:
        """A watch shows a pod, first to the books."""
        self.ledger.apply_pod(bound)
        self.service.arrivals.changed(bound)

    def arrived(self, name: str = "trainer", gpus: Any = 2, on: str = "n") -> list[tuple[str, Said]]:
        """What is told of a pod that passes filter and is bound."""
        self.filter(pod(name, gpus))
        self.seen(pod(name, gpus, on=on))
        return self.told.once


def placed(ledger: Ledger, *bound: dict[str, Any]) -> list[Placed]:
    """What pods got that were all decided about here."""
    found: list[Placed] = []
    service = Service(ledger)
    arrivals = Arrivals(ledger, service._decisions, lambda _, what: found.append(what))
    for each in bound:
        asked = {**each, "spec": {**each["spec"], "nodeName": None}}
        service.filter(orjson.dumps({"Pod": asked, "NodeNames": ledger.nodes}))
        ledger.apply_pod(each)
        arrivals.changed(each)
    return found


def test_a_pod_of_several_gpus_tells_what_it_got_and_the_best_there() -> None:
    """As long as the agent has not shown which ones these are, they are expected."""
    world = World(node("n", bridged(4), held=[holder("old", [0])]))
    ((_, said),) = world.arrived()
    assert said.reason == "GpusPlaced"
    assert said.note == (
        "2 GPUs on n are expected to reach 56 GB/s; the best that such a machine gives when it is empty is 56"
    )


def test_quality_says_how_it_compares_with_an_empty_machine() -> None:
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(6), free=[0, 1, 2, 4])])
    best, less = placed(ledger, pod("a", 2, on="n"), pod("b", 2, on="n"))
    assert (best.quality, best.basis) == (Quality.BEST, Basis.ENFORCED)
    assert less.quality in {Quality.HALF, Quality.LESS}
    assert less.bandwidth_gbps is not None
    assert less.best_gbps == best.bandwidth_gbps


def test_where_the_vendors_plugin_chooses_it_is_the_least_that_is_expected() -> None:
    world = World(node("n", bridged(4), allocation=Allocation.VENDOR))
    ((_, said),) = world.arrived()
    assert "are expected to reach at least" in said.note


def test_what_the_agent_has_shown_already_is_no_expectation() -> None:
    """Its report came before the watch showed the pod."""
    world = World(node("n", switched(8)))
    world.filter(pod("trainer", 4))
    world.ledger.apply_node(node("n", switched(8), held=[holder("trainer", range(4))], sequence=2))
    world.seen(pod("trainer", 4, on="n"))
    ((_, said),) = world.told.once
    assert said.note.startswith("4 GPUs on n that reach 376.2 GB/s")


def test_on_a_node_that_is_not_known_it_is_said_why() -> None:
    world = World(bare_node("n"))
    ((_, said),) = world.arrived()
    assert said.note == (
        "2 GPUs on n; how they are linked is not known: the node has no annotation gpu-scheduler/topology"
    )


@pytest.mark.parametrize("gpus", [1, [1, 1]])
def test_pods_of_single_gpus_have_nothing_to_tell(gpus: Any) -> None:
    """No link is between them that placement would look at."""
    assert World(node("n", switched(8))).arrived(gpus=gpus) == []


def test_slices_have_nothing_to_tell() -> None:
    world = World(node("n", switched(8)))
    asked = {"nvidia.com/mig-1g.10gb": 2}
    world.filter(sliced_pod(slices=asked))
    world.seen(sliced_pod(slices=asked, on="n"))
    assert world.told.once == []


def test_a_pod_is_told_of_once_however_often_it_changes() -> None:
    world = World(node("n", switched(8)))
    world.arrived()
    world.seen(pod("trainer", 2, on="n", phase="Running"))
    world.service.arrivals.replaced([pod("trainer", 2, on="n")])
    assert len(world.told.once) == 1


def test_a_pod_that_another_replica_decided_about_is_left_to_it() -> None:
    """This one was never asked, or only when it found no node, or about a pod of that name that is gone."""
    world = World(node("n", switched(8)))
    world.seen(pod("trainer", 2, on="n"))
    world.filter(pod("large", 16))
    world.seen(pod("large", 16, on="n"))
    world.filter(pod("again", 2, uid="old"))
    world.seen(pod("again", 2, uid="new", on="n"))
    assert world.told.once == []


def test_a_pod_that_fits_nowhere_tells_why_each_time_it_is_refused() -> None:
    world = World(node("a", switched(8), held=[holder("x", range(6))]), node("b", bridged(4)), bare_node("c"))
    for _ in range(2):
        world.filter(pod("trainer", 4, require="nvlink"))
    (key, said), again = world.told.again
    assert key == "team/trainer"
    assert (key, said) == again
    assert (said.reason, said.is_warning) == ("WaitsForLinkedGpus", False)
    assert said.note == (
        "When it was first refused, none of 3 nodes that kube-scheduler asked about could serve it with 4 GPUs: "
        "1 node with too few free, "
        "1 node where no free set has in common what it requires, 1 node whose topology is not known. "
        "What holds now, and what would help: gputopo explain team/trainer"
    )


def test_a_pod_for_which_only_the_number_is_short_says_so_in_its_reason() -> None:
    world = World(node("a", switched(8), held=[holder("x", range(6))]))
    world.filter(pod("trainer", 4))
    ((_, said),) = world.told.again
    assert said.reason == "WaitsForGpus"


def test_a_pod_that_passes_filter_does_not_say_that_it_waits() -> None:
    world = World(node("a", switched(8)))
    world.filter(pod("trainer", 4))
    world.filter(pod("without", 0))
    assert world.told.again == []


def test_a_wish_that_cannot_be_read_is_a_warning() -> None:
    """Nothing but a new pod helps."""
    world = World(node("a", switched(8)))
    world.filter(pod("trainer", 4, require="the moon"))
    ((_, said),) = world.told.again
    assert (said.reason, said.is_warning) == ("UnreadableGpuWish", True)
    assert "gpu-scheduler/require is 'the moon'" in said.note


async def test_what_pods_got_is_counted_measured_and_logged(logged: list[MutableMapping[str, Any]]) -> None:
    world = World(node("n", switched(8)), bare_node("silent"))
    world.arrived("a", 4)
    world.arrived("b", 2, on="silent")
    async with client_of(create_app(world.service)) as client:
        metrics = await metrics_of(client)
    assert metrics["gpu_scheduler_placements_total", ("best",)] == 1
    assert metrics["gpu_scheduler_placements_total", ("unknown",)] == 1
    assert metrics["gpu_scheduler_placement_bandwidth_bytes_per_second_count", ()] == 1
    assert metrics["gpu_scheduler_placement_bandwidth_bytes_per_second_sum", ()] == 376.2e9
    assert metrics["gpu_scheduler_filtered_pods_total", ("passed",)] == 2
    lines = [entry for entry in logged if entry["event"] == "placed"]
    assert [(line["pod"], line["quality"], line["bandwidth_gbps"]) for line in lines] == [
        ("team/a", "best", 376.2),
        ("team/b", "unknown", None),
    ]
