"""What was expected is compared with what came, and the agent with the pods' own status."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extender.findings import Allotment, Basis, Evidence, Finding
from extender.ledger import Ledger
from extender.service import Service
from gpu_topology.contract import Allocation
from tests.extender.builders import bridged, holder, node, pod
from tests.extender.test_bind import recorded


def ledger_of(*pods: dict[str, Any], **state: Any) -> tuple[Ledger, list[Finding]]:
    """Books of one bridged node, `a`, and what they find out from now on."""
    ledger = Ledger(trusts_records=True)
    ledger.replace_nodes([node("a", bridged(4), **state)])
    findings: list[Finding] = []
    ledger.tell = findings.append
    ledger.replace_pods(pods)
    return ledger, findings


def report(ledger: Ledger, gpus: list[int], sequence: int = 2, **state: Any) -> None:
    """The agent shows that `x` has these."""
    ledger.apply_node(node("a", bridged(4), held=[holder("x", gpus)], sequence=sequence, **state))


@pytest.mark.parametrize(
    ("given", "agrees"), [([0, 1], True), ([2, 3], True), ([1, 2], False)], ids=["same", "as good", "worse"]
)
def test_an_expected_set_agrees_with_any_that_is_worth_as_much(given: list[int], *, agrees: bool) -> None:
    """Of equal sets the choice is free."""
    ledger, findings = ledger_of(pod("x", 2, on="a"))
    report(ledger, given)
    assert findings == [Allotment("a", "team/x", Basis.ENFORCED, (0, 1), tuple(given), agrees)]


def test_a_predicted_set_agrees_with_any_that_is_not_worse() -> None:
    """It is the worst that the vendor's device plugin may pick."""
    ledger, findings = ledger_of(pod("x", 2, on="a"), allocation=Allocation.VENDOR)
    report(ledger, [0, 1], allocation=Allocation.VENDOR)
    [finding] = findings
    assert isinstance(finding, Allotment)
    assert (finding.basis, finding.agrees) == (Basis.PREDICTED, True)


@pytest.mark.parametrize(("given", "agrees"), [([2, 3], True), ([0, 1], False)])
def test_a_recorded_set_agrees_with_itself_alone(given: list[int], *, agrees: bool) -> None:
    ledger, findings = ledger_of(recorded("x", [2, 3]))
    report(ledger, given)
    assert findings == [Allotment("a", "team/x", Basis.RECORDED, (2, 3), tuple(given), agrees)]


def test_nothing_is_said_before_all_gpus_of_a_pod_are_shown() -> None:
    """The kubelet fills its containers in one by one; then the whole is compared."""
    ledger, findings = ledger_of(pod("x", [1, 1], on="a"))
    report(ledger, [0], 2)
    assert findings == []
    report(ledger, [0, 1], 3)
    assert [(finding.pod, finding.agrees) for finding in findings] == [("team/x", True)]
    report(ledger, [0, 1], 4)
    assert len(findings) == 1


def test_a_pod_that_leaves_before_it_is_shown_is_not_compared() -> None:
    ledger, findings = ledger_of(pod("x", 2, on="a"))
    ledger.forget_pod("team/x")
    ledger.apply_node(node("a", bridged(4), sequence=2))
    assert findings == []


def witnessed(gpus: list[int]) -> dict[str, Any]:
    """Pod `x`, whose status names its GPUs as the kubelet writes it from Kubernetes 1.36 on."""
    resources = [{"resourceID": f"GPU-{gpu}", "health": "Healthy"} for gpu in gpus]
    bound = pod("x", len(gpus), on="a", phase="Running")
    bound["status"]["containerStatuses"] = [
        {"name": "c0", "allocatedResourcesStatus": [{"name": "nvidia.com/gpu", "resources": resources}]}
    ]
    return bound


def test_a_pods_own_status_is_a_second_witness() -> None:
    """It is heard whichever comes first, and once."""
    ledger, findings = ledger_of(witnessed([1, 0]))
    report(ledger, [0, 1])
    report(ledger, [0, 1], 3)
    ledger.apply_pod(witnessed([1, 0]))
    evidence = [finding for finding in findings if isinstance(finding, Evidence)]
    assert evidence == [Evidence("a", "team/x", ("GPU-0", "GPU-1"), ("GPU-0", "GPU-1"))]


def test_where_the_witnesses_differ_it_is_counted_and_logged(logged: list[MutableMapping[str, Any]]) -> None:
    ledger, _ = ledger_of(pod("x", 2, on="a"), held=[holder("x", [0, 1])])
    service = Service(ledger)
    ledger.apply_pod(witnessed([2, 3]))
    samples = [
        sample
        for family in text_string_to_metric_families(service.metrics.exposition().decode())
        for sample in family.samples
        if sample.name == "gpu_scheduler_witnesses_total"
    ]
    assert [(sample.labels, sample.value) for sample in samples] == [({"outcome": "differ"}, 1)]
    [line] = [event for event in logged if "status names other GPUs" in event["event"]]
    assert (line["pod"], line["status"], line["report"]) == ("team/x", ("GPU-2", "GPU-3"), ("GPU-0", "GPU-1"))


def test_an_agent_that_lags_behind_is_no_contradiction() -> None:
    """It has yet to show the pod in full."""
    ledger, findings = ledger_of(witnessed([0, 1]))
    report(ledger, [0])
    assert findings == []


def test_a_pod_of_the_same_name_is_heard_anew() -> None:
    ledger, findings = ledger_of(witnessed([0, 1]), held=[holder("x", [0, 1])])
    ledger.forget_pod("team/x")
    ledger.apply_pod(witnessed([0, 1]))
    assert [finding.agrees for finding in findings] == [True, True]
