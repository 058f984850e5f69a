"""XID errors from NVML's events to whoever wants to know, whatever fails on the way."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from gpu_topology.errors import SourceError
from tests.fake_nvml import library, machine
from tests.fake_nvml.machine import Failure
from tests.topology_agent.conftest import FakeNvml
from topology_agent.sources import nvml
from topology_agent.sources.nvml import DriverLostError, watch_xids
from topology_agent.xid_watch import follow_xids
from topology_agent.xids import XidEvent

DGX = machine.load("dgx-1v")
NOT_SUPPORTED = 3
DRIVER_NOT_LOADED = 9
GPU_IS_LOST = 15
WAIT = "nvmlEventSetWait_v2"
REGISTER = "nvmlDeviceRegisterEvents"


class StopAfter(threading.Event):
    """Is set after it was asked so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    def is_set(self) -> bool:
        self._times -= 1
        return self._times < 0


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_WAIT_MILLISECONDS", 0)


def watched(events: int) -> list[XidEvent]:
    """What is told when NVML is asked so many times for an event."""
    told: list[XidEvent] = []
    watch_xids(told.append, StopAfter(events))
    return told


def test_every_error_is_told_with_its_gpu(fake_nvml: FakeNvml) -> None:
    fake_nvml.play(DGX)
    for gpu in range(8):
        fake_nvml.report_xid(gpu, 40 + gpu)
    assert watched(10) == [XidEvent(gpu, 40 + gpu) for gpu in range(8)]


def test_the_error_of_a_gpu_that_no_longer_answers_is_told_with_its_gpu(fake_nvml: FakeNvml) -> None:
    """NVML tells neither its index nor its UUID any more."""
    gone = [Failure(function, GPU_IS_LOST, gpu=5) for function in ("nvmlDeviceGetUUID", "nvmlDeviceGetIndex")]
    fake_nvml.play(DGX.failing(*gone))
    fake_nvml.report_xid(5, 79)
    assert watched(1) == [XidEvent(5, 79)]


def test_a_gpu_without_events_does_not_hide_those_of_the_others(fake_nvml: FakeNvml) -> None:
    fake_nvml.play(DGX.failing(Failure(REGISTER, NOT_SUPPORTED, gpu=0), Failure("*", GPU_IS_LOST, gpu=1)))
    fake_nvml.report_xid(2, 48)
    assert watched(1) == [XidEvent(2, 48)]


def test_where_no_gpu_has_events_the_watch_ends(fake_nvml: FakeNvml) -> None:
    fake_nvml.play(DGX.failing(Failure(REGISTER, NOT_SUPPORTED)))
    told: list[XidEvent] = []
    watch_xids(told.append, threading.Event())
    assert told == []


def test_a_driver_that_goes_away_is_told_from_other_failures(fake_nvml: FakeNvml) -> None:
    fake_nvml.play(DGX.failing(Failure(WAIT, DRIVER_NOT_LOADED)))
    with pytest.raises(DriverLostError):
        watched(1)
    fake_nvml.play(DGX.failing(Failure(WAIT, GPU_IS_LOST)))
    with pytest.raises(SourceError, match="GPU is lost") as caught:
        watched(1)
    assert not isinstance(caught.value, DriverLostError)


@pytest.mark.parametrize("function", ["nvmlInitWithFlags", "nvmlEventSetCreate", REGISTER, WAIT])
def test_whatever_nvml_answers_is_a_source_error_or_silence(function: str, fake_nvml: FakeNvml) -> None:
    for code in library.error_codes().values():
        fake_nvml.play(DGX.failing(Failure(function, code)))
        with suppress(SourceError):
            assert watched(2) == []


class Source:
    """A source that fails as often as the test says, then tells of an error, and waits to be stopped."""

    def __init__(self, *failures: str) -> None:
        self._failures = list(failures)
        self.stopped = threading.Event()

    def __call__(self, tell: Callable[[XidEvent], None], stop: threading.Event) -> None:
        if self._failures:
            raise SourceError(self._failures.pop(0))
        tell(XidEvent(1, 79))
        stop.wait()
        self.stopped.set()


async def test_the_watch_goes_on_after_failures_which_are_logged_once_each() -> None:
    told: asyncio.Queue[XidEvent] = asyncio.Queue()
    source = Source("no driver", "no driver", "busy")
    with capture_logs() as logs:
        task = asyncio.create_task(follow_xids(source, told.put_nowait, retry_seconds=0))
        async with asyncio.timeout(10):
            assert await told.get() == XidEvent(1, 79)
    assert [entry["error"] for entry in logs] == ["no driver", "busy"]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(source.stopped.wait, 10)


async def test_the_watch_ends_where_there_is_nothing_to_watch() -> None:
    def nothing(_: Callable[[XidEvent], None], __: threading.Event) -> None: ...

    def nothing_told(event: XidEvent) -> None:
        raise AssertionError(event)

    with capture_logs() as logs:
        await follow_xids(nothing, nothing_told, retry_seconds=0)
    assert [entry["event"] for entry in logs] == ["no GPU here reports XID errors"]
