"""The publisher patches what differs, once, and in the end whatever happens."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from structlog.testing import capture_logs
from tenacity import wait_none

from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    Allocation,
    Holder,
    check_state,
    decode_state,
    encode_topology,
)
from kubernetes_api import ApiError, Resource
from tests.topology_agent.fake_cluster import FakeCluster, node
from topology_agent.labels import FABRIC_CLIQUE_LABEL, GPU_COUNT_LABEL, INTERCONNECT_LABEL
from topology_agent.occupancy import Occupancy
from topology_agent.profiles import load_machine
from topology_agent.publisher import ATTEMPTS, Publisher
from topology_agent.report import NodeReport

TOPOLOGY = load_machine("pcie-4-node-sys")
ENCODED = encode_topology(TOPOLOGY)
IDLE = NodeReport(ENCODED, Occupancy((0, 1, 2, 3)), Allocation.VENDOR)
BUSY = NodeReport(ENCODED, Occupancy((2, 3), (Holder("ns/a", "main", (0, 1)),)), Allocation.VENDOR)


def publisher(cluster: FakeCluster) -> Publisher:
    return Publisher(cluster, ["n"], pause=wait_none())


async def published(subject: Publisher, report: NodeReport) -> bool:
    subject.publish("n", report)
    return await subject.write("n")


async def test_a_node_gets_both_annotations_and_they_belong_together() -> None:
    cluster = FakeCluster(node("n", {"other": "stays"}))
    assert await published(publisher(cluster), IDLE)
    annotations = cluster.annotations("n")
    state = decode_state(annotations[STATE_ANNOTATION])
    check_state(state, TOPOLOGY, annotations[TOPOLOGY_ANNOTATION])
    assert state.free == (0, 1, 2, 3)
    assert annotations["other"] == "stays"


async def test_what_the_node_says_already_is_not_patched() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    await published(subject, IDLE)
    await published(subject, IDLE)
    assert len(cluster.patches) == 1


async def test_only_the_annotation_that_changed_is_patched() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    await published(subject, IDLE)
    await published(subject, BUSY)
    assert list(cluster.patches[1][1]) == [STATE_ANNOTATION]


async def test_after_a_restart_nothing_is_patched_and_the_sequence_goes_on() -> None:
    cluster = FakeCluster(node("n"))
    await published(publisher(cluster), IDLE)
    restarted = publisher(cluster)
    await published(restarted, IDLE)
    assert len(cluster.patches) == 1
    await published(restarted, BUSY)
    assert decode_state(cluster.annotations("n")[STATE_ANNOTATION]).sequence == 2


async def test_the_sequence_goes_on_where_an_annotation_was_removed_that_another_process_had_written() -> None:
    cluster = FakeCluster(node("n"))
    first = publisher(cluster)
    await published(first, IDLE)
    await published(first, BUSY)
    restarted = publisher(cluster)
    restarted.changed(node("n", cluster.annotations("n")))
    cluster.put(Resource.NODES, node("n"))
    restarted.changed(node("n"))
    await published(restarted, BUSY)
    assert decode_state(cluster.annotations("n")[STATE_ANNOTATION]).sequence == 3


async def test_a_state_that_cannot_be_read_is_written_anew() -> None:
    cluster = FakeCluster(node("n", {STATE_ANNOTATION: "nonsense", TOPOLOGY_ANNOTATION: ENCODED}))
    await published(publisher(cluster), IDLE)
    assert decode_state(cluster.annotations("n")[STATE_ANNOTATION]).free == (0, 1, 2, 3)


async def test_unread_hardware_leaves_the_topology_and_makes_the_state_unknown() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    await published(subject, IDLE)
    await published(subject, NodeReport(None, Occupancy(None, stale="no driver"), Allocation.VENDOR))
    annotations = cluster.annotations("n")
    state = decode_state(annotations[STATE_ANNOTATION])
    check_state(state, TOPOLOGY, annotations[TOPOLOGY_ANNOTATION])
    assert (state.free, state.stale) == (None, "no driver")


async def test_nothing_is_said_of_a_node_whose_hardware_was_never_read() -> None:
    cluster = FakeCluster(node("n"))
    assert await published(publisher(cluster), NodeReport(None, Occupancy(None, stale="x"), Allocation.VENDOR))
    assert cluster.patches == []


async def test_labels_are_written_with_the_annotations_and_not_again() -> None:
    cluster = FakeCluster(node("n", labels={"other": "stays"}))
    subject = publisher(cluster)
    labelled = replace(IDLE, labels={GPU_COUNT_LABEL: "4", INTERCONNECT_LABEL: "pcie"})
    await published(subject, labelled)
    await published(subject, replace(labelled, occupancy=BUSY.occupancy))
    assert cluster.labels("n") == {"other": "stays", GPU_COUNT_LABEL: "4", INTERCONNECT_LABEL: "pcie"}
    assert len(cluster.patches) == 2
    assert len(cluster.label_patches) == 1


async def test_a_label_that_is_no_longer_true_is_removed_and_a_wrong_one_corrected() -> None:
    cluster = FakeCluster(node("n", labels={FABRIC_CLIQUE_LABEL: "gone", GPU_COUNT_LABEL: "8"}))
    await published(publisher(cluster), replace(IDLE, labels={GPU_COUNT_LABEL: "4"}))
    assert cluster.labels("n") == {GPU_COUNT_LABEL: "4"}


async def test_labels_stay_while_the_hardware_cannot_be_read() -> None:
    cluster = FakeCluster(node("n", {TOPOLOGY_ANNOTATION: ENCODED}, labels={GPU_COUNT_LABEL: "8"}))
    await published(publisher(cluster), NodeReport(None, Occupancy(None, stale="no driver"), Allocation.VENDOR))
    assert cluster.labels("n") == {GPU_COUNT_LABEL: "8"}
    assert cluster.label_patches == []


async def test_a_label_that_somebody_removed_comes_back_without_a_new_state() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    subject.changed(node("n"))
    await published(subject, replace(IDLE, labels={GPU_COUNT_LABEL: "4"}))
    stripped = node("n", cluster.annotations("n"))
    cluster.put(Resource.NODES, stripped)
    subject.changed(stripped)
    await subject.write("n")
    assert cluster.labels("n") == {GPU_COUNT_LABEL: "4"}
    assert cluster.patches[-1] == ("n", {})


async def test_a_failure_is_tried_again() -> None:
    cluster = FakeCluster(node("n"))
    cluster.failures = [ApiError("busy", 429), ApiError("no answer")]
    assert await published(publisher(cluster), IDLE)
    assert STATE_ANNOTATION in cluster.annotations("n")


async def test_tries_have_a_limit_and_the_next_resync_begins_anew() -> None:
    cluster = FakeCluster(node("n"))
    cluster.failures = [ApiError("down", 500)] * ATTEMPTS
    subject = publisher(cluster)
    with capture_logs() as logs:
        assert not await published(subject, IDLE)
    assert logs[-1]["log_level"] == "error"
    assert "down" in logs[-1]["error"]
    subject.resync()
    async with running(subject):
        await until(cluster, lambda: STATE_ANNOTATION in cluster.annotations("n"))


async def test_a_patch_that_arrived_though_its_answer_was_lost_is_not_repeated() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    patch = cluster.patch_node

    async def patch_and_lose_the_answer(name: str, **changes: Any) -> None:
        await patch(name, **changes)
        cluster.patch_node = patch  # type: ignore[method-assign]
        raise ApiError("timed out")

    cluster.patch_node = patch_and_lose_the_answer  # type: ignore[method-assign]
    assert await published(subject, IDLE)
    assert len(cluster.patches) == 1


async def test_a_node_that_does_not_exist_is_logged_and_written_when_it_appears() -> None:
    cluster = FakeCluster()
    subject = publisher(cluster)
    with capture_logs() as logs:
        assert not await published(subject, IDLE)
    assert logs[-1]["event"].startswith("the node does not exist")
    async with running(subject):
        cluster.put(Resource.NODES, node("n"))
        subject.changed(node("n"))
        await until(cluster, lambda: STATE_ANNOTATION in cluster.annotations("n"))


async def test_an_annotation_that_somebody_removed_comes_back() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    subject.changed(node("n"))
    await published(subject, IDLE)
    stripped = node("n")
    cluster.put(Resource.NODES, stripped)
    subject.changed(stripped)
    async with running(subject):
        await until(cluster, lambda: STATE_ANNOTATION in cluster.annotations("n"))


async def test_an_event_older_than_our_own_patch_is_no_reason_to_write() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    subject.changed(node("n"))
    await published(subject, IDLE)
    outdated = node("n", cluster.annotations("n"))
    await published(subject, BUSY)
    subject.changed(outdated)
    await subject.write("n")
    assert len(cluster.patches) == 2


async def test_a_node_that_was_made_anew_is_written_anew_and_its_sequence_still_grows() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    subject.changed(node("n"))
    await published(subject, IDLE)
    subject.deleted(node("n"))
    reborn = node("n", uid="other")
    cluster.put(Resource.NODES, reborn)
    subject.changed(reborn)
    await subject.write("n")
    assert decode_state(cluster.annotations("n")[STATE_ANNOTATION]).sequence == 2


async def test_other_nodes_are_left_alone() -> None:
    cluster = FakeCluster(node("n"), node("other"))
    subject = publisher(cluster)
    subject.replaced([node("n"), node("other")])
    subject.publish("n", IDLE)
    async with running(subject):
        await until(cluster, lambda: bool(cluster.patches))
    assert {name for name, _ in cluster.patches} == {"n"}


async def test_many_changes_at_once_are_one_patch() -> None:
    cluster = FakeCluster(node("n"))
    subject = publisher(cluster)
    for report in (IDLE, BUSY, IDLE, BUSY):
        subject.publish("n", report)
    async with running(subject):
        await until(cluster, lambda: STATE_ANNOTATION in cluster.annotations("n"))
    assert len(cluster.patches) == 1
    assert decode_state(cluster.annotations("n")[STATE_ANNOTATION]).free == (2, 3)


class running:  # noqa: N801  reads as a sentence: async with running(publisher)
    """The publisher's workers at work."""

    def __init__(self, subject: Publisher) -> None:
        self._subject = subject

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._subject.run(4))

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def until(cluster: FakeCluster, condition: Callable[[], bool]) -> None:
    """Wait for a patch that makes a condition true."""
    async with asyncio.timeout(10), cluster.patched:
        await cluster.patched.wait_for(condition)
