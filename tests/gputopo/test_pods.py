"""`gputopo pods`, by what an extender answers, and what is read of pods that wait."""

import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from extender.ledger import Ledger
from extender.overview import overview_of
from extender.service import Service
from gpu_topology.assignment import Assignment, encode_assignment
from gpu_topology.contract import Allocation
from gpu_topology.slices import SliceHolder, SlicePool
from gputopo.output import age
from gputopo.pods import pod_lines
from gputopo.waiting import short, waiting_pod
from tests.extender.builders import bare_node, bridged, holder, node, pod, sliced_pod, switched
from tests.gputopo.answering import answering
from tests.gputopo.clusters import mixed, overview
from tests.gputopo.conftest import Command, Outcome

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
NO_PODS = b'{"pods": []}'


def ask(gputopo: Command, *arguments: str, ledger: Ledger | None = None, asked_about: bytes = NO_PODS) -> Outcome:
    """What `gputopo pods` says about a cluster, which is the mixed one if none is given."""
    answers = {"/v1/cluster": overview(ledger or mixed()), "/v1/pods": asked_about}
    with answering(200, answers) as (url, _):
        return gputopo("pods", *arguments, "--url", url)


def cells(line: str) -> list[str]:
    """The cells of a line of a list."""
    return re.split(r"  +", line.strip())


def shown(ledger: Ledger) -> list[list[str]]:
    """The cells of each pod's line."""
    nodes = overview_of(ledger)["nodes"]
    lines = [*pod_lines([{"node": each["name"], **pod} for each in nodes for pod in each["pods"]], [], NOW)]
    return [cells(re.sub(r"\x1b\[\d+m", "", line)) for line in lines[1:]]


def test_each_pod_says_which_gpus_it_has_how_sure_that_is_and_how_fast_they_are(gputopo: Command) -> None:
    """`apart` has one GPU of each pair, where a pair would be faster."""
    outcome = ask(gputopo)
    assert outcome.status == 0
    rows = [cells(line) for line in outcome.output.splitlines()]
    assert rows[0] == ["POD", "NODE", "GPUS", "HOW SURE", "GB/S", "BEST", "SINCE"]
    assert [row[:-1] for row in rows[1:]] == [
        ["team/apart", "bridge", "0,2", "known", "26.3", "56.0"],
        ["team/hidden", "silent", "? (3 GPUs)", "unknown", "?", "-"],
        ["team/next", "switch", "4,5", "expected", "376.2", "376.2"],
        ["team/trainer", "switch", "0,1,2,3", "known", "376.2", "376.2"],
    ]
    assert all(re.fullmatch(r"\d+d", row[-1]) for row in rows[1:])


def test_a_set_that_is_recorded_and_kept_to_is_called_recorded() -> None:
    record = Assignment("uid-of-trainer", "n", (("c0", ("GPU-2", "GPU-3")),), 56.2, enforced=True)
    bound = pod("trainer", 2, on="n")
    bound["metadata"]["annotations"]["gpu-scheduler/assigned"] = encode_assignment(record)
    ledger = Ledger(trusts_records=True)
    ledger.apply_node(node("n", bridged(4), allocation=Allocation.BEST))
    ledger.apply_pod(bound)
    assert shown(ledger)[0][2:6] == ["2,3", "recorded", "56.0", "56.0"]


def test_parts_of_gpus_are_counted_by_resource() -> None:
    small = "nvidia.com/mig-1g.10gb"
    held = (SliceHolder("team/part", "c0", small, 0, 2),)
    ledger = Ledger()
    ledger.apply_node(node("n", switched(4), slices=(SlicePool(small, 0, 7, 5),), held_slices=held))
    ledger.apply_pod(sliced_pod("part", slices={small: 2}, on="n"))
    assert shown(ledger)[0][2:6] == [f"2 x {small}", "known", "-", "-"]


def test_a_pod_that_is_gone_but_for_its_gpus_is_still_shown() -> None:
    """The agent has the last word on who has a GPU. Since when, only the API server knew."""
    ledger = Ledger()
    ledger.apply_node(node("n", switched(4), held=[holder("ghost", [1, 2])]))
    assert shown(ledger)[0] == ["team/ghost", "n", "1,2", "known", "376.2", "376.2", "-"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--namespace", "team"], ["team/apart", "team/hidden", "team/next", "team/trainer"]),
        (["-n", "team", "--node", "switch"], ["team/next", "team/trainer"]),
        (["--node", "silent"], ["team/hidden"]),
    ],
    ids=" ".join,
)
def test_pods_are_chosen(gputopo: Command, options: list[str], names: list[str]) -> None:
    outcome = ask(gputopo, *options)
    assert [cells(line)[0] for line in outcome.output.splitlines()[1:]] == names
    document = ask(gputopo, *options, "--json").document
    assert [each["pod"] for each in document["pods"]] == names


@pytest.mark.parametrize("options", [["-n", "other"], ["--node", "nowhere"], ["--pending"]], ids=" ".join)
def test_where_no_pod_is_like_that_the_status_is_1(gputopo: Command, options: list[str]) -> None:
    outcome = ask(gputopo, *options)
    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.errors == "there is no such pod with GPUs, nor one that waits for some\n"
    assert ask(gputopo, *options, "--json").document == {"pods": [], "waiting": []}


def test_an_extender_tells_of_the_pods_that_it_was_asked_about_and_that_wait(gputopo: Command) -> None:
    ledger = mixed()
    with capture_logs():
        service = Service(ledger)
        for asking in (pod("huge", 16), pod("trainer", 4), pod("odd", 1, require="magic")):
            service.filter(orjson.dumps({"Pod": asking, "Nodes": None, "NodeNames": ["switch", "bridge"]}))
    outcome = ask(gputopo, "--pending", ledger=ledger, asked_about=orjson.dumps(service.pods_asked_about()))
    rows = [cells(line) for line in outcome.output.splitlines()]
    assert rows[0] == ["WAITING", "ASKS FOR", "SINCE", "WHY"]
    assert [row[0] for row in rows[1:]] == ["team/odd", "team/huge"]
    assert rows[1][-1].startswith("gpu-scheduler/require is 'magic'")
    assert rows[2][1] == "16 GPUs"
    assert rows[2][-1] == "0 of 2 nodes could serve it when it was last asked about; refused: too-few-free 2"


def unscheduled(message: str | None = None, **fields: Any) -> dict[str, Any]:
    """A pod that waits, with what its scheduler says."""
    waits = pod(**fields)
    waits["metadata"]["creationTimestamp"] = "2026-01-01T11:58:00Z"
    waits["spec"]["schedulerName"] = "gpu-scheduler"
    if message is not None:
        waits["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": message}]
    return waits


def test_a_waiting_pod_says_what_it_asks_for_since_when_and_why() -> None:
    message = "0/9 nodes are available: 9 Insufficient nvidia.com/gpu. preemption: 0/9 nodes are available: 9 none."
    waiting = [waiting_pod(unscheduled(message, gpus=4)), waiting_pod(unscheduled(None, name="new", gpus=1))]
    lines = [*pod_lines([], [each for each in waiting if each], NOW)]
    assert [cells(line) for line in lines[1:]] == [
        ["team/trainer", "4 GPUs", "2m", "0/9 nodes are available: 9 Insufficient nvidia.com/gpu"],
        ["team/new", "1 GPU", "2m", "gpu-scheduler has said nothing yet"],
    ]


@pytest.mark.parametrize(
    "asking",
    [unscheduled(gpus=0), unscheduled(gpus=1, on="somewhere"), unscheduled(gpus=1, phase="Failed")],
    ids=["no GPU", "bound", "ended"],
)
def test_who_does_not_wait_for_gpus_is_left_out(asking: dict[str, Any]) -> None:
    assert waiting_pod(asking) is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "0/2 nodes are available: 1 too small, 1 busy. no new claims to deallocate, preemption: 0/2 nodes.",
            "0/2 nodes are available: 1 too small, 1 busy",
        ),
        ("0/1 nodes are available: 1 node(s) had taints.", "0/1 nodes are available: 1 node(s) had taints"),
        ("the preemption of others is awaited", "the preemption of others is awaited"),
        ("SchedulingGated", "SchedulingGated"),
    ],
)
def test_a_reason_is_shown_without_what_it_says_of_evictions(said: str, shown: str) -> None:
    assert short(said, "gpu-scheduler") == shown


@pytest.mark.parametrize(
    ("since", "shown"),
    [
        ("2026-01-01T11:59:59Z", "1s"),
        ("2026-01-01T11:58:01Z", "119s"),
        ("2026-01-01T11:58:00Z", "2m"),
        ("2026-01-01T10:00:00Z", "2h"),
        ("2025-12-30T13:00:00.123456Z", "46h"),
        ("2025-12-01T12:00:00+00:00", "31d"),
        ("2026-01-01T12:00:30Z", "0s"),
        ("2026-01-01T12:00:30", "?"),
        ("yesterday", "?"),
        ("", "?"),
        (None, "?"),
    ],
)
def test_an_age_is_said_in_one_unit(since: str | None, shown: str) -> None:
    assert age(since, NOW) == shown


def test_a_cluster_without_gpu_pods_has_status_1(gputopo: Command) -> None:
    ledger = Ledger()
    ledger.apply_node(bare_node("n"))
    assert ask(gputopo, ledger=ledger).status == 1
