"""How a pod fared is read from its status as the kubelet writes it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.feeds import trimmed_pod
from extender.outcomes import START_WINDOW, Failure, FailureReason, Success, outcomes_of
from tests.extender.builders import pod, sliced_pod

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def text(seconds: float = 0) -> str:
    """A time, so many seconds after noon, as the API server writes it."""
    return (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def refused(reason: str, name: str = "a", at: float = 0, owner: str | None = None, on: str = "n") -> dict[str, Any]:
    """A pod that the kubelet refused at its admission."""
    made = owned(pod(name, 1, on=on, phase="Failed"), owner)
    made["status"] |= {"reason": reason, "message": f"Pod was rejected: {reason}", "startTime": text(at)}
    return made


def running(started: float, name: str = "a", on: str = "n") -> dict[str, Any]:
    """A pod whose one container runs since then."""
    made = pod(name, 1, on=on, phase="Running")
    made["status"]["containerStatuses"] = [{"name": "c0", "state": {"running": {"startedAt": text(started)}}}]
    return made


def ended(code: int, finished: float, name: str = "a", owner: str | None = None, **fields: Any) -> dict[str, Any]:
    """A pod whose one container started at noon and ended then."""
    made = owned(pod(name, 1, on=fields.pop("on", "n"), phase=fields.pop("phase", "Failed")), owner)
    state = {"exitCode": code, "startedAt": text(), "finishedAt": text(finished)} | fields
    made["status"]["containerStatuses"] = [{"name": "c0", "state": {"terminated": state}}]
    return made


def owned(made: dict[str, Any], owner: str | None) -> dict[str, Any]:
    """A pod with a controller of this UID, and another reference that is none."""
    if owner is not None:
        made["metadata"]["ownerReferences"] = [{"uid": "somebody"}, {"uid": owner, "controller": True}]
    return made


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("UnexpectedAdmissionError", FailureReason.UNEXPECTED_ADMISSION),
        ("TopologyAffinityError", FailureReason.TOPOLOGY_AFFINITY),
        ("OutOfnvidia.com/gpu", FailureReason.OUT_OF_GPUS),
        ("OutOfnvidia.com/mig-1g.10gb", FailureReason.OUT_OF_GPUS),
        ("InvalidNodeInfo", FailureReason.NODE_INFO),
        ("UnexpectedPredicateFailureType", FailureReason.PREDICATE),
        ("UnknownReason", FailureReason.UNKNOWN),
    ],
)
def test_a_refusal_by_the_kubelet_speaks_against_the_node(said: str, reason: FailureReason) -> None:
    assert outcomes_of(refused(said, owner="job")) == [Failure("n", "uid-of-a", "job", reason, said, NOON)]


@pytest.mark.parametrize(
    "said",
    ["OutOfcpu", "OutOfexample.com/fpga", "NodeAffinity", "Evicted", "NodeShutdown", "Preempting", "DeadlineExceeded",
     "EarlyExit", "OutOfGpus"],
)  # fmt: skip
def test_a_refusal_for_what_is_not_the_nodes_fault_says_nothing(said: str) -> None:
    assert outcomes_of(refused(said)) == []


def test_a_pod_without_a_controller_is_its_own_owner() -> None:
    [failure] = outcomes_of(refused("UnknownReason"))
    assert isinstance(failure, Failure)
    assert failure.owner == failure.pod == "uid-of-a"


def test_a_refusal_without_a_start_counts_from_the_binding() -> None:
    made = refused("UnknownReason")
    del made["status"]["startTime"]
    assert [outcome.at for outcome in outcomes_of(made)] == [datetime(2026, 1, 1, tzinfo=UTC)]


def test_an_error_right_after_the_start_speaks_against_the_node() -> None:
    [failure] = outcomes_of(ended(1, 3, owner="job"))
    at = NOON + timedelta(seconds=3)
    assert failure == Failure("n", "uid-of-a", "job", FailureReason.EARLY_EXIT, "exit code 1 after 3 s", at)


def test_a_container_that_could_not_be_started_counts_too() -> None:
    """The runtime leaves the start at the epoch then, as where the driver's hook fails."""
    [failure] = outcomes_of(ended(128, 3, startedAt="1970-01-01T00:00:00Z", reason="StartError"))
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.detail) == (FailureReason.EARLY_EXIT, "a container could not be started")


@pytest.mark.parametrize("finished", [START_WINDOW.seconds - 1, START_WINDOW.seconds, START_WINDOW.seconds + 1])
def test_who_ran_for_longer_than_the_start_has_shown_that_the_node_works(finished: int) -> None:
    [outcome] = outcomes_of(ended(1, finished))
    assert isinstance(outcome, Success if finished > START_WINDOW.seconds else Failure)


def test_a_container_that_crashed_and_runs_again_says_both() -> None:
    made = running(started=20)
    made["status"]["containerStatuses"][0]["lastState"] = ended(1, 5)["status"]["containerStatuses"][0]["state"]
    failure, success = outcomes_of(made)
    assert isinstance(failure, Failure)
    assert success == Success("n", "uid-of-a", NOON + timedelta(seconds=20) + START_WINDOW)


def test_a_pod_with_two_containers_has_run_when_both_have() -> None:
    made = pod("a", [1, 1], on="n", phase="Running")
    made["status"]["containerStatuses"] = [
        {"name": "c0", "state": {"running": {"startedAt": text(0)}}},
        {"name": "c1", "state": {"waiting": {"reason": "ContainerCreating"}}},
    ]
    assert outcomes_of(made) == []
    made["status"]["containerStatuses"][1] = {"name": "c1", "state": {"running": {"startedAt": text(9)}}}
    assert outcomes_of(made) == [Success("n", "uid-of-a", NOON + timedelta(seconds=9) + START_WINDOW)]


def test_a_pod_that_succeeded_counts_however_short_it_was() -> None:
    assert outcomes_of(ended(0, 2, phase="Succeeded")) == [Success("n", "uid-of-a", NOON + timedelta(seconds=2))]


def test_a_pod_that_was_told_to_go_says_nothing_by_its_error() -> None:
    made = ended(143, 3, phase="Running")
    made["metadata"]["deletionTimestamp"] = text(2)
    assert outcomes_of(made) == []


def test_containers_without_gpus_say_nothing() -> None:
    made = pod("a", [1, 0], on="n", phase="Running")
    made["status"]["containerStatuses"] = [
        {"name": "c0", "state": {"running": {"startedAt": text()}}},
        {"name": "c1", "state": ended(1, 3)["status"]["containerStatuses"][0]["state"]},
    ]
    assert [type(outcome) for outcome in outcomes_of(made)] == [Success]


def test_slices_are_parts_of_gpus_too() -> None:
    made = sliced_pod("a", slices={"nvidia.com/mig-1g.10gb": 1}, on="n", phase="Failed")
    made["status"] |= {"reason": "UnexpectedAdmissionError", "startTime": text()}
    assert len(outcomes_of(made)) == 1


def test_pods_without_gpus_and_unbound_ones_say_nothing() -> None:
    web = refused("UnexpectedAdmissionError")
    web["spec"]["containers"][0]["resources"] = {}
    waiting = refused("UnexpectedAdmissionError")
    del waiting["spec"]["nodeName"]
    assert outcomes_of(web) == outcomes_of(waiting) == []


@pytest.mark.parametrize(
    "made", [refused("UnexpectedAdmissionError", owner="job"), running(3), ended(1, 3, owner="job"), ended(0, 3)]
)
def test_a_trimmed_pod_fared_as_the_whole_one(made: dict[str, Any]) -> None:
    for status in made["status"].get("containerStatuses", ()):
        status |= {"image": "example/image", "containerID": "cri://1"}
    trimmed = trimmed_pod(made)
    assert outcomes_of(trimmed) == outcomes_of(made)
    assert "image" not in str(trimmed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc", max_size=8) | st.sampled_from([text(), "Failed", "c0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["phase", "reason", "startTime", "conditions", "containerStatuses"]), JSON),
    st.dictionaries(st.sampled_from(["state", "lastState", "name"]), JSON),
)
def test_a_status_of_any_form_can_be_read(status: dict[str, Any], container: dict[str, Any]) -> None:
    made = pod("a", 1, on="n") | {"status": {"containerStatuses": [container]} | status}
    assert isinstance(outcomes_of(made), list)
