"""Events about pods: one a reason, counted, bounded, and never in the way of whoever tells."""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from extender.pod_events import MOST_SERIES, MOST_WAITING, SERIES_INTERVAL, Outcome, PodEvents
from extender.pod_story import Said
from extender.pods import PodIdentity
from kubernetes_api import ApiError
from tests.extender.fake_event_api import FakeEventApi

SOON = 10.0
TRAINER = PodIdentity("team/trainer", "uid-of-trainer")
WAITS = Said("WaitsForGpus", "Filtering", "No node can serve it.")
PLACED = Said("GpusPlaced", "Binding", "4 GPUs on n that reach 48 GB/s")


async def until(happened: Callable[[], object]) -> None:
    """Let everything else run until something has happened."""
    async with asyncio.timeout(SOON):
        while not happened():  # noqa: ASYNC110  counters have no events
            await asyncio.sleep(0)


async def until_counted(events: PodEvents, outcome: Outcome, number: int) -> None:
    """The same for so many events with this outcome."""
    await until(lambda: events.counted[outcome] >= number)


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class World:
    """Events about pods over an API server in memory, written as soon as the event loop turns."""

    def __init__(self) -> None:
        self.api = FakeEventApi()
        self.clock = Clock()
        self.events = PodEvents(self.api, "replica-0", clock=self.clock, pause_seconds=0)
        self._running = asyncio.create_task(self.events.run())

    async def written(self, number: int) -> None:
        """Wait until so many have been written."""
        await until_counted(self.events, Outcome.WRITTEN, number)

    def counts(self) -> list[tuple[str, str, int]]:
        """Each event's pod, reason and count."""
        return [(each.event.about.name, each.event.reason, each.count) for each in self.api.events.values()]

    def stop(self) -> None:
        self._running.cancel()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    running = World()
    yield running
    running.stop()


async def test_what_happens_again_is_one_event_whose_count_rises_once_a_minute(world: World) -> None:
    counts = []
    for minute in range(3):
        world.events.tell(TRAINER, WAITS)
        await world.written(minute + 1)
        for _ in range(9):
            world.events.tell(TRAINER, WAITS)
        counts += world.counts()
        world.clock.now += SERIES_INTERVAL
    assert counts == [("trainer", "WaitsForGpus", count) for count in (1, 11, 21)]
    assert world.api.writes == 3


async def test_another_reason_and_another_pod_of_the_name_are_other_events(world: World) -> None:
    world.events.tell(TRAINER, WAITS)
    world.events.tell(TRAINER, Said("WaitsForLinkedGpus", "Filtering", "No set is linked."))
    world.events.tell(PodIdentity(TRAINER.key, "another"), WAITS)
    await world.written(3)
    assert sorted(world.counts()) == [
        ("trainer", "WaitsForGpus", 1),
        ("trainer", "WaitsForGpus", 1),
        ("trainer", "WaitsForLinkedGpus", 1),
    ]


async def test_of_two_replicas_that_see_the_same_only_one_event_remains(world: World) -> None:
    """The second finds that it is there, and is content."""
    other = PodEvents(world.api, "replica-1", pause_seconds=0)
    writing = asyncio.create_task(other.run())
    world.events.tell_once(TRAINER, PLACED)
    other.tell_once(TRAINER, PLACED)
    await until(lambda: world.events.counted and other.counted)
    writing.cancel()
    assert world.counts() == [("trainer", "GpusPlaced", 1)]
    assert other.counted[Outcome.FAILED] == 0


async def test_an_event_that_the_api_server_has_forgotten_is_made_anew(world: World) -> None:
    world.events.tell(TRAINER, WAITS)
    await world.written(1)
    world.api.events.clear()
    world.clock.now += timedelta(hours=2)
    world.events.tell(TRAINER, WAITS)
    await world.written(2)
    assert world.counts() == [("trainer", "WaitsForGpus", 1)]


async def test_a_flood_while_the_api_server_hangs_is_bounded_and_what_is_dropped_is_counted(world: World) -> None:
    """Whoever tells never waits, and memory has a limit."""
    world.api.gate.clear()
    flood = 3 * MOST_WAITING
    world.events.tell(TRAINER, WAITS)
    await until(lambda: world.api.writes)
    for number in range(flood):
        world.events.tell(PodIdentity(f"team/pod-{number}", str(number)), WAITS)
    assert world.events.counted[Outcome.DROPPED] == flood - MOST_WAITING
    assert len(world.events._series) == MOST_SERIES
    world.api.gate.set()
    await world.written(MOST_WAITING + 1)
    assert len(world.api.events) == MOST_WAITING + 1


async def test_a_pod_that_tells_again_while_it_is_waiting_takes_no_second_place(world: World) -> None:
    world.api.gate.clear()
    for _ in range(2 * MOST_WAITING):
        world.events.tell(TRAINER, WAITS)
    assert not world.events.counted
    world.api.gate.set()
    await world.written(1)
    assert world.counts() == [("trainer", "WaitsForGpus", 1)]


async def test_what_the_api_server_refuses_is_counted_logged_once_and_tried_when_it_happens_again(
    world: World, logged: list[MutableMapping[str, Any]]
) -> None:
    world.api.refusal = ApiError("forbidden", 403)
    for failures in range(1, 4):
        world.events.tell(TRAINER, WAITS)
        await until_counted(world.events, Outcome.FAILED, failures)
    assert [entry["error"] for entry in logged] == ["forbidden"]
    world.api.refusal = None
    world.events.tell(TRAINER, WAITS)
    await until(lambda: world.api.events)


@pytest.mark.parametrize("name", ["a" * 253, "a" * 199 + ".b", "p" * 199 + "-" + "q"])
async def test_the_name_of_an_event_is_one_that_the_api_server_takes(world: World, name: str) -> None:
    """However long that of the pod is, and wherever it has to be cut."""
    world.events.tell_once(PodIdentity(f"team/{name}", "uid"), PLACED)
    await world.written(1)
    (written,) = world.api.events
    first, _, last = written.rpartition(".")
    assert len(written) <= 253
    assert first[-1].isalnum()
    assert last.isalnum()
