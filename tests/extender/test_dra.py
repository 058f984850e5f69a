"""GPUs that a DRA driver hands out: counted where they are known, promised nowhere, and no GPUs of a device plugin."""

from typing import Any

import orjson
import pytest

from extender.dra import Claim, DeviceClasses, divide, problem_of
from extender.feeds import trimmed_pod
from extender.filter import filter_nodes
from extender.groups import Situation
from extender.ledger import Ledger
from extender.pods import bound_pod_of
from extender.preempt import choose_victims
from extender.reports import Knowledge
from extender.service import Service
from extender.wire import Victims
from gpu_topology.placement import gpus_of
from gpu_topology.request import GPU_RESOURCE, bound_request_of, request_of
from gpu_topology.slices import SlicePool
from tests.extender.builders import bare_node, node, plain, pod, sliced_pod, switched

CLASS = "gpu.example"


def claimed(asking: dict[str, Any], *containers: str, resource: str = GPU_RESOURCE) -> dict[str, Any]:
    """A pod for whose containers kube-scheduler has made a claim."""
    mappings = [
        {"containerName": name, "requestName": f"container-{index}-request-0", "resourceName": resource}
        for index, name in enumerate(containers)
    ]
    asking["status"]["extendedResourceClaimStatus"] = {
        "resourceClaimName": f"{asking['metadata']['name']}-extended-resources-x1y2z",
        "requestMappings": mappings,
    }
    return asking


def without_plugin(name: str, **fields: Any) -> dict[str, Any]:
    """A node with an agent that sees its eight GPUs, whose kubelet offers none of them."""
    made = node(name, switched(8), **fields)
    made["status"]["allocatable"] = {}
    return made


def ledger_of(*nodes: dict[str, Any], device_class: str | None = CLASS) -> Ledger:
    """Books of these nodes in a cluster with a class that stands for GPUs."""
    ledger = Ledger()
    ledger.replace_nodes(nodes)
    ledger.serve_by_dra(device_class)
    return ledger


def knowledge(ledger: Ledger, name: str) -> Knowledge:
    """What is known of a node."""
    book = ledger.book(name)
    assert book is not None
    return book.knowledge


def free(ledger: Ledger, name: str) -> tuple[int, ...]:
    """The GPUs of a known node that a pod could get."""
    book = ledger.book(name)
    assert book is not None
    assert isinstance(book.group, Situation)
    return gpus_of(book.group.free)


@pytest.mark.parametrize("allocatable", [{}, {GPU_RESOURCE: "0"}])
def test_where_no_plugin_offers_gpus_and_a_class_does_nothing_is_known_of_them(allocatable: dict[str, str]) -> None:
    """By kube-scheduler's own rule, under which none and zero are the same."""
    made = node("n", switched(8))
    made["status"]["allocatable"] = allocatable
    ledger = ledger_of(made)
    assert knowledge(ledger, "n") is Knowledge.DRA
    assert ledger.knowledge()[Knowledge.DRA] == 1
    ledger.serve_by_dra(None)
    assert knowledge(ledger, "n") is Knowledge.KNOWN


def test_a_node_with_a_device_plugin_stays_as_it_is() -> None:
    assert knowledge(ledger_of(node("n", switched(8))), "n") is Knowledge.KNOWN


def test_a_node_whose_plugin_offers_slices_alone_stays_as_it_is() -> None:
    cut = [SlicePool("nvidia.com/mig-1g.10gb", gpu, 7, 7) for gpu in range(4)]
    made = node("n", plain(4), slices=cut, held_slices=())
    made["status"]["allocatable"] = {"nvidia.com/mig-1g.10gb": "28"}
    ledger = ledger_of(made)
    assert knowledge(ledger, "n") is Knowledge.KNOWN
    asking = request_of(sliced_pod(slices={"nvidia.com/mig-1g.10gb": 2}))
    assert filter_nodes(ledger, asking, ["n"]).best == "n"


def test_a_node_goes_over_to_a_plugin_and_back_as_its_allocatable_says() -> None:
    ledger = ledger_of(without_plugin("n"))
    ledger.apply_node(node("n", switched(8)))
    assert knowledge(ledger, "n") is Knowledge.KNOWN
    ledger.apply_node(without_plugin("n"))
    assert knowledge(ledger, "n") is Knowledge.DRA


def test_a_pod_without_a_hard_wish_passes_behind_all_known_nodes() -> None:
    ledger = ledger_of(without_plugin("driver"), node("plugin", plain(4)))
    result = filter_nodes(ledger, request_of(pod(gpus=2)), ["driver", "plugin"])
    assert (result.passed, result.best) == (["plugin", "driver"], "plugin")


def test_a_pod_with_a_hard_wish_is_refused_with_the_reason() -> None:
    result = filter_nodes(ledger_of(without_plugin("n")), request_of(pod(gpus=2, require="nvlink")), ["n"])
    assert result.failed == {
        "n": "topology unknown: the kubelet offers no nvidia.com/gpu; GPUs there are handed out by the DRA driver of "
        "device class gpu.example, which chooses them itself"
    }


def test_evictions_there_are_left_to_kube_schedulers_count() -> None:
    ledger, victims = ledger_of(without_plugin("n")), {"n": Victims(("a", "b"), 0)}
    assert choose_victims(ledger, request_of(pod(gpus=2)), victims) == victims
    assert choose_victims(ledger, request_of(pod(gpus=2, require="nvlink")), victims) == {}


def test_a_claim_is_in_the_books_by_number_for_each_container_and_in_all() -> None:
    service = Service(ledger_of(without_plugin("n")))
    service._ledger.apply_pod(claimed(pod("a", [2, 1], on="n"), "c0", "c1"))
    page = service.account_of("n")
    assert page is not None
    assert page["knowledge"] == "dra"
    assert page["problem"] == problem_of(CLASS)
    assert page["claimed"] == {
        "team/a": {"claim": "a-extended-resources-x1y2z", "gpus": 3, "containers": {"c0": 2, "c1": 1}}
    }
    assert (page["free"], page["usable"], page["expected"]) == (None, None, {})


def test_a_claim_takes_no_gpu_of_a_device_plugin() -> None:
    """Its node had a driver when it came, and has gone over to a plugin since."""
    ledger = ledger_of(node("n", plain(4)))
    ledger.apply_pod(claimed(pod("a", 2, on="n"), "c0"))
    ledger.apply_pod(pod("b", 1, on="n"))
    book = ledger.book("n")
    assert book is not None
    assert (set(book.claimed), set(book.expected)) == ({"team/a"}, {"team/b"})
    assert len(free(ledger, "n")) == 3


def test_a_claim_leaves_the_books_with_its_pod() -> None:
    ledger = ledger_of(without_plugin("n"))
    ledger.apply_pod(claimed(pod("a", 2, on="n"), "c0"))
    ledger.forget_pod("team/a")
    book = ledger.book("n")
    assert book is not None
    assert book.claimed == {}


def test_what_a_claim_holds_of_a_pod_is_divided_by_container_and_resource() -> None:
    """Slices from a plugin beside GPUs from a driver."""
    asking = sliced_pod("a", 2, slices={"nvidia.com/mig-1g.10gb": 1}, on="n")
    held, claim = divide(claimed(asking, "c0"), bound_request_of(asking))
    assert (held.total, held.slice_totals) == (0, {"nvidia.com/mig-1g.10gb": 1})
    assert claim is not None
    assert (claim.request.total, claim.request.slice_totals) == (2, {})


@pytest.mark.parametrize(
    "status",
    [None, 7, {}, {"resourceClaimName": "x"}, {"resourceClaimName": "x", "requestMappings": [7, {}]}],
)
def test_a_claim_that_says_nothing_of_gpus_changes_nothing(status: object) -> None:
    asking = pod("a", 2, on="n")
    asking["status"]["extendedResourceClaimStatus"] = status
    request = bound_request_of(asking)
    assert divide(asking, request) == (request, None)


def test_a_trimmed_pod_keeps_its_claim() -> None:
    made = claimed(pod("a", 2, on="n"), "c0")
    bound = bound_pod_of(trimmed_pod(made))
    assert bound is not None
    assert bound == bound_pod_of(made)
    assert isinstance(bound.claim, Claim)


def test_claims_teach_nothing_about_the_sizes_that_a_plugin_is_asked_for() -> None:
    ledger, untouched = ledger_of(without_plugin("n")), ledger_of(without_plugin("n"))
    for number in range(200):
        ledger.apply_pod(claimed(pod(f"p{number}", 3, on="n"), "c0"))
    assert ledger.demand == untouched.demand


def test_the_explanation_says_what_was_claimed_and_that_nothing_is_promised() -> None:
    ledger = ledger_of(without_plugin("driver"), bare_node("silent"))
    service = Service(ledger)
    asking = pod(gpus=2)
    service.filter(orjson.dumps({"Pod": asking, "Nodes": None, "NodeNames": ["driver"]}))
    ledger.apply_pod(claimed(pod(gpus=2, on="driver"), "c0"))
    found = service.explanation_of("team/trainer")
    assert found is not None
    assert found["bound_to"] == "driver"
    assert found["claimed"] == {"claim": "trainer-extended-resources-x1y2z", "gpus": 2, "containers": {"c0": 2}}
    assert f"only where no other can: {problem_of(CLASS)}" in [group["reason"] for group in found["able"]]
    assert found["best"] is None


def test_the_advice_does_not_send_anybody_to_an_agent_that_could_not_help() -> None:
    service = Service(ledger_of(without_plugin("driver"), bare_node("silent")))
    asking = pod(gpus=2, require="nvlink")
    service.filter(orjson.dumps({"Pod": asking, "Nodes": None, "NodeNames": ["driver"]}))
    found = service.explanation_of("team/trainer")
    assert found is not None
    by_driver, by_agent = found["advice"][-2:]
    assert by_driver.startswith(
        "without its wishes it may go to 1 node whose GPUs a DRA driver hands out, such as driver"
    )
    assert by_agent.startswith("see to the agent on 1 node of which")


def device_class(name: str, stands_for: str | None, created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """A class that was created then."""
    spec = {} if stands_for is None else {"extendedResourceName": stands_for}
    return {"metadata": {"name": name, "creationTimestamp": created}, "spec": spec}


def test_the_class_is_the_one_that_kube_scheduler_takes() -> None:
    """The newest of those that stand for GPUs; of equally new ones the first by name."""
    told: list[str | None] = []
    classes = DeviceClasses(told.append)
    classes.replaced([device_class("other", "example.com/fpga"), device_class("unnamed", None)])
    classes.changed(device_class("b", GPU_RESOURCE))
    classes.changed(device_class("a", GPU_RESOURCE))
    classes.changed(device_class("z", GPU_RESOURCE, "2026-01-02T00:00:00Z"))
    classes.deleted(device_class("z", GPU_RESOURCE, "2026-01-02T00:00:00Z"))
    classes.changed(device_class("a", None))
    classes.replaced([])
    assert told == [None, "b", "a", "z", "a", "b", None]
