"""What events about pods count on in an API server: a real one keeps to it, and so does the fake."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest

from extender.pod_events import SERIES_INTERVAL, Outcome, PodEventApi, PodEvents
from extender.pod_story import Said
from extender.pods import PodIdentity
from kubernetes_api import Cluster, ConflictError, NotFoundError, PodEvent, PodReference
from kubernetes_api.created import MOST_NOTE_BYTES
from tests.control_plane.cluster import ControlPlane
from tests.extender.fake_event_api import FakeEventApi
from tests.extender.test_pod_events import Clock, until_counted

EVENT = PodEvent(
    name="trainer.0123456789abcdef",
    about=PodReference("default", "trainer", "uid-of-trainer"),
    reason="WaitsForGpus",
    action="Filtering",
    note="No node can serve it.",
    is_warning=False,
    reporter="gpu-scheduler/extender",
    instance="replica-0",
)
EVENTS = "events.k8s.io/v1"


@dataclass
class Server:
    """An API server, and how often it says that an event has happened; None where it has no such event."""

    api: PodEventApi
    count: Callable[[str], int | None]


@pytest.fixture(params=["real", "fake"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    if request.param == "fake":
        fake = FakeEventApi()
        yield Server(fake, lambda name: fake.events[name].count if name in fake.events else None)
        return
    control_plane = request.getfixturevalue("control_plane")
    client = control_plane.client
    client.delete_all("Event", api_version=EVENTS)

    def count(name: str) -> int | None:
        named = client.list("Event", "default", api_version=EVENTS, field_selector=f"metadata.name={name}")
        return next((int(event.get("series", {"count": 1})["count"]) for event in named), None)

    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        yield Server(cluster, count)


async def test_an_event_is_created_once_and_then_counted(server: Server) -> None:
    await server.api.create_pod_event(EVENT)
    assert server.count(EVENT.name) == 1
    for count in (2, 17):
        await server.api.repeat_pod_event(EVENT, count)
        assert server.count(EVENT.name) == count


async def test_a_second_event_of_the_same_name_is_a_conflict(server: Server) -> None:
    """So that whoever says the same a second time does no harm."""
    await server.api.create_pod_event(EVENT)
    with pytest.raises(ConflictError):
        await server.api.create_pod_event(replace(EVENT, instance="replica-1"))


async def test_an_event_that_is_not_there_cannot_be_counted(server: Server) -> None:
    """The API server forgets events after an hour."""
    with pytest.raises(NotFoundError):
        await server.api.repeat_pod_event(EVENT, 2)
    assert server.count(EVENT.name) is None


@pytest.fixture
def _no_events(control_plane: ControlPlane) -> None:
    """Those of other tests are gone; they outlive their pods."""
    control_plane.client.delete_all("Event", api_version=EVENTS)


@pytest.mark.usefixtures("_no_events")
async def test_a_pod_that_waits_has_one_event_on_a_real_api_server_whose_count_rises(
    control_plane: ControlPlane,
) -> None:
    """Refused again and again, a minute apart."""
    clock, pod = Clock(), PodIdentity("default/trainer", "uid-of-trainer")
    counts = []
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        events = PodEvents(cluster, "replica-0", clock=clock, pause_seconds=0)
        writing = asyncio.create_task(events.run())
        for written in range(1, 4):
            events.tell(pod, Said("WaitsForGpus", "Filtering", "No node can serve it."))
            await until_counted(events, Outcome.WRITTEN, written)
            (event,) = control_plane.client.list("Event", "default", api_version=EVENTS)
            counts.append(event.get("series", {}).get("count"))
            clock.now += SERIES_INTERVAL
        writing.cancel()
    assert counts == [None, 2, 3]
    assert event["regarding"]["uid"] == "uid-of-trainer"


@pytest.mark.usefixtures("_no_events")
async def test_a_real_api_server_has_all_that_was_said(control_plane: ControlPlane) -> None:
    """With a note that is cut to what it takes, and the pod, by which `kubectl describe pod` finds it."""
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        await cluster.create_pod_event(replace(EVENT, note="x" * 2000, is_warning=True, instance="i" * 300))
    event = control_plane.client.get("Event", EVENT.name, api_version=EVENTS)
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "default",
        "name": "trainer",
        "uid": "uid-of-trainer",
    }
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "WaitsForGpus", "Filtering")
    assert (len(event["note"]), len(event["reportingInstance"])) == (MOST_NOTE_BYTES, 128)
