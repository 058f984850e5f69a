"""From the watch of pods to the answers: what the verbs, the books and people are told of nodes that eat pods."""

import asyncio
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from tenacity import wait_none

from extender.app import create_app
from extender.failing import LATELY, REPORTER, Departures, FailingNodes
from extender.feeds import Feeds
from extender.ledger import Ledger
from extender.node_events import MOST_WAITING, NodeEvents
from extender.service import Service
from kubernetes_api import ApiError, NodeEvent, PodReference
from kubernetes_api.events import ATTEMPTS
from tests.extender.builders import bare_node, node, plain, pod, switched
from tests.extender.test_app import client_of, metrics_of
from tests.extender.test_outcomes import NOON, refused, running

REASON = "2 GPU pods of 2 owners failed here within 10 minutes, the last: UnexpectedAdmissionError"
OUT = f"{REASON}; left out until 12:15 UTC"


class Cluster:
    """Nodes, and pods that fail on them, seen by a service whose clock is set by hand. Two failures are too many."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.now = NOON
        self.told: list[tuple[str, NodeEvent]] = []
        self.ledger = Ledger()
        self.ledger.replace_nodes(nodes)
        self.names = [each["metadata"]["name"] for each in nodes]
        self.failing = FailingNodes(
            self.ledger, 2, tell=lambda name, event: self.told.append((name, event)), clock=self.clock
        )
        self.service = Service(self.ledger, failing=self.failing, clock=self.clock)

    def clock(self) -> datetime:
        return self.now

    def fail(self, name: str, times: int = 2) -> None:
        """Let so many pods be refused on a node, now."""
        at = (self.now - NOON).total_seconds()
        for number in range(times):
            self.failing.changed(refused("UnexpectedAdmissionError", f"{name}-{at:.0f}-{number}", at, on=name))

    def ask(self, verb: str, **asking: Any) -> Any:
        """What kube-scheduler gets for a pod."""
        body = {"Pod": pod(**({"gpus": 1} | asking)), "Nodes": None, "NodeNames": self.names}
        return orjson.loads(getattr(self.service, verb)(orjson.dumps(body)))

    def later(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(node("best", switched(8)), node("other", plain(4)), bare_node("silent"))


def test_a_suspect_node_passes_behind_all_others(cluster: Cluster) -> None:
    assert cluster.ask("filter", gpus=2)["NodeNames"] == ["best", "other", "silent"]
    cluster.fail("best", 1)
    assert cluster.ask("filter", gpus=2)["NodeNames"] == ["other", "silent", "best"]
    assert cluster.ask("prioritize", gpus=2) == [{"Host": "other", "Score": 10}]


def test_where_the_others_are_unknown_they_still_come_before_a_suspect_node() -> None:
    cluster = Cluster(node("best", switched(8)), bare_node("silent"))
    cluster.fail("best", 1)
    assert cluster.ask("prioritize", gpus=2) == [{"Host": "silent", "Score": 5}]


def test_where_all_are_suspect_the_best_of_them_is_the_best() -> None:
    cluster = Cluster(node("best", switched(8)), node("other", plain(4)))
    cluster.fail("best", 1)
    cluster.fail("other", 1)
    assert [each["Host"] for each in cluster.ask("prioritize", gpus=2)] == ["best", "other"]


def test_a_node_that_is_left_out_is_refused_with_the_reason(cluster: Cluster) -> None:
    cluster.fail("best")
    answer = cluster.ask("filter", gpus=2)
    assert answer["NodeNames"] == ["other", "silent"]
    assert answer["FailedAndUnresolvableNodes"] == {"best": OUT}
    assert answer["FailedNodes"] == {}


def test_a_pod_with_a_hard_wish_is_refused_there_for_the_same_reason(cluster: Cluster) -> None:
    cluster.fail("best")
    answer = cluster.ask("filter", gpus=2, require="nvlink")
    assert answer["FailedAndUnresolvableNodes"]["best"] == OUT
    assert answer["NodeNames"] == []


def test_nobody_is_evicted_for_a_place_on_such_a_node(cluster: Cluster) -> None:
    victims = {name: {"Pods": [{"UID": "victim"}], "NumPDBViolations": 0} for name in ("best", "silent")}
    asking = {"Pod": pod(gpus=8), "NodeNameToVictims": None, "NodeNameToMetaVictims": victims}
    cluster.fail("best")
    answer = orjson.loads(cluster.service.preempt(orjson.dumps(asking)))
    assert list(answer["NodeNameToMetaVictims"]) == ["silent"]


def test_the_explanation_groups_such_nodes_and_says_what_to_do(cluster: Cluster) -> None:
    cluster.fail("best")
    cluster.ask("filter", gpus=8, require="nvlink")
    found = cluster.service.explanation_of("team/trainer")
    assert found is not None
    assert {"nodes": 1, "examples": ["best"], "kind": "failing-node", "reason": OUT} in found["refused"]
    assert any(
        sentence.startswith("see to the driver, the GPUs and the device plugin on 1 node where GPU pods keep failing, ")
        for sentence in found["advice"]
    )
    assert found["last_filter"]["refused"]["failing-node"] == 1


def test_the_explanation_names_suspect_nodes_as_the_last_choice(cluster: Cluster) -> None:
    cluster.fail("best", 1)
    cluster.ask("filter", gpus=2)
    found = cluster.service.explanation_of("team/trainer")
    assert found is not None
    assert found["able"][-1]["examples"] == ["best"]
    assert found["able"][-1]["reason"].startswith("only where no other can: 1 GPU pod failed here within 10 minutes")
    assert found["advice"][0].startswith("3 nodes could serve it")


async def test_the_nodes_page_and_the_metrics_show_it(cluster: Cluster) -> None:
    cluster.fail("best")
    async with client_of(create_app(cluster.service)) as client:
        page = (await client.get("/v1/nodes/best")).json()
        metrics = await metrics_of(client)
    assert (page["standing"], page["standing_reason"]) == ("left-out", OUT)
    assert page["left_out_until"] == "2026-01-01T12:15:00+00:00"
    assert metrics["gpu_scheduler_node_failures_total", ("UnexpectedAdmissionError",)] == 2
    assert metrics["gpu_scheduler_node_failures_total", ("EarlyExit",)] == 0
    standings = {
        labels[0]: value for (name, labels), value in metrics.items() if name == "gpu_scheduler_node_standings"
    }
    assert standings == {"good": 2, "suspect": 0, "left-out": 1, "probation": 0}


def test_every_change_is_in_the_log(cluster: Cluster, logged: list[MutableMapping[str, Any]]) -> None:
    cluster.fail("best", 1)
    cluster.failing.look()
    cluster.fail("best", 2)
    cluster.failing.look()
    cluster.later(16)
    cluster.failing.look()
    cluster.failing.changed(running((cluster.now - NOON).total_seconds() - 31, on="best"))
    cluster.failing.look()
    changes = [(line["log_level"], line["was"], line["standing"]) for line in logged if line["event"] == "standing"]
    assert changes == [
        ("info", "good", "suspect"),
        ("warning", "suspect", "left-out"),
        ("info", "left-out", "probation"),
        ("info", "probation", "good"),
    ]


def test_events_say_when_a_node_is_left_out_and_when_it_is_taken_back(cluster: Cluster) -> None:
    cluster.ask("filter")
    cluster.fail("best")
    cluster.failing.look()
    cluster.later(15)
    cluster.failing.look()
    (_, out), (_, back) = cluster.told
    assert [name for name, _ in cluster.told] == ["best", "best"]
    assert out == NodeEvent("GpuNodeLeftOut", "LeftOut", OUT, is_warning=True, reporter=REPORTER)
    assert (back.reason, back.is_warning) == ("GpuNodeTakenBack", False)
    assert back.note == f"GPU pods are placed here again, behind other nodes: {REASON}; on probation since 12:15 UTC"


def test_a_replica_that_nobody_asks_writes_no_events(cluster: Cluster) -> None:
    """It knows all the same, so that it can take over at any moment."""
    cluster.fail("best")
    cluster.failing.look()
    cluster.later(15)
    cluster.failing.look()
    assert cluster.told == []
    cluster.ask("filter")
    cluster.later(LATELY.total_seconds() / 60 + 1)
    cluster.fail("best", 1)
    cluster.failing.look()
    assert cluster.ledger.standings["best"].standing == "left-out"
    assert cluster.told == []


def test_who_said_that_a_node_is_left_out_says_when_it_is_back(cluster: Cluster) -> None:
    """Also where nobody has asked in between: there may be nothing to place."""
    cluster.ask("filter")
    cluster.fail("best")
    cluster.failing.look()
    cluster.later(LATELY.total_seconds() / 60 + 15)
    cluster.failing.look()
    assert [event.reason for _, event in cluster.told] == ["GpuNodeLeftOut", "GpuNodeTakenBack"]


def test_after_a_restart_the_standings_are_those_from_before(cluster: Cluster) -> None:
    pods = [refused("UnexpectedAdmissionError", f"p{number}", number, on="best") for number in range(2)]
    cluster.failing.replaced(list(reversed(pods)))
    cluster.later(1)
    assert cluster.ask("filter", gpus=2)["FailedAndUnresolvableNodes"] == {"best": OUT}


def test_a_pod_that_runs_brings_a_node_back(cluster: Cluster) -> None:
    cluster.fail("best")
    cluster.failing.changed(running(10, on="best"))
    assert "best" not in cluster.ask("filter")["NodeNames"]
    cluster.later(1)
    assert "best" in cluster.ask("filter")["NodeNames"]


def test_a_pod_that_is_deleted_in_time_does_not(cluster: Cluster) -> None:
    cluster.fail("best")
    cluster.failing.changed(running(10, on="best"))
    cluster.failing.deleted(running(10, on="best"))
    cluster.later(1)
    assert "best" not in cluster.ask("filter")["NodeNames"]


def test_a_clock_that_is_ahead_does_not_make_the_pause_longer(cluster: Cluster) -> None:
    for number in range(2):
        cluster.failing.changed(refused("UnexpectedAdmissionError", f"p{number}", at=3600, on="best"))
    assert cluster.ask("filter")["FailedAndUnresolvableNodes"] == {"best": OUT}


def test_a_new_node_of_the_same_name_starts_anew(cluster: Cluster) -> None:
    departures = Departures(cluster.failing)
    cluster.fail("best")
    departures.changed(node("best", switched(8)))
    assert "best" not in cluster.ask("filter")["NodeNames"]
    departures.deleted(node("best", switched(8)))
    assert "best" in cluster.ask("filter")["NodeNames"]
    cluster.fail("other")
    departures.replaced([node("best", switched(8))])
    assert "other" in cluster.ask("filter")["NodeNames"]


def test_feeds_hand_on_to_all() -> None:
    heard: list[str] = []

    class Ear:
        def __init__(self, name: str) -> None:
            self._name = name

        def replaced(self, objects: list[dict[str, Any]]) -> None:
            heard.append(f"{self._name} replaced {len(objects)}")

        def changed(self, obj: dict[str, Any]) -> None:
            heard.append(f"{self._name} changed {obj['metadata']['name']}")

        def deleted(self, obj: dict[str, Any]) -> None:
            heard.append(f"{self._name} deleted {obj['metadata']['name']}")

    feeds = Feeds(Ear("left"), Ear("right"))
    feeds.replaced([pod("a")])
    feeds.changed(pod("a"))
    feeds.deleted(pod("a"))
    assert heard == [
        f"{ear} {what}" for what in ("replaced 1", "changed a", "deleted a") for ear in ("left", "right")
    ]  # fmt: skip


class Recorder:
    """An API server that takes events, or fails so many times before."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.taken: list[tuple[str | PodReference, NodeEvent]] = []
        self.has_taken = asyncio.Event()

    async def create_event(self, about: str | PodReference, event: NodeEvent) -> None:
        if self.failures:
            self.failures -= 1
            raise ApiError("down")
        self.taken.append((about, event))
        self.has_taken.set()


EVENT = NodeEvent("GpuNodeLeftOut", "LeftOut", "why", is_warning=True)


@pytest.mark.parametrize(("failures", "taken"), [(0, ["a", "b"]), (ATTEMPTS - 1, ["a", "b"]), (ATTEMPTS, ["b"])])
async def test_events_are_written_in_the_background_with_so_many_tries(failures: int, taken: list[str]) -> None:
    recorder = Recorder(failures)
    events = NodeEvents(recorder, pause=wait_none())
    events.tell("a", EVENT)
    events.tell("b", EVENT)
    assert recorder.taken == []
    task = asyncio.create_task(events.run())
    async with asyncio.timeout(10):
        while [name for name, _ in recorder.taken] != taken:
            recorder.has_taken.clear()
            await recorder.has_taken.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_while_the_api_server_is_away_only_so_many_events_wait(logged: list[MutableMapping[str, Any]]) -> None:
    events = NodeEvents(Recorder())
    for number in range(MOST_WAITING + 1):
        events.tell(f"n{number}", EVENT)
    assert [(line["event"], line["about"]) for line in logged] == [("the event is given up", f"n{MOST_WAITING}")]


async def test_changes_are_noticed_although_nobody_asks() -> None:
    """By a pod that fails, and by the end of the pause."""
    told: asyncio.Queue[str] = asyncio.Queue()
    ledger = Ledger()
    ledger.replace_nodes([node("n", plain(4))])
    failing = FailingNodes(ledger, 1, timedelta(seconds=0.05), tell=lambda _, event: told.put_nowait(event.reason))
    failing.asked()
    task = asyncio.create_task(failing.run())
    failing.changed(refused("UnexpectedAdmissionError", at=3e9, on="n"))
    async with asyncio.timeout(10):
        assert [await told.get(), await told.get()] == ["GpuNodeLeftOut", "GpuNodeTakenBack"]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
