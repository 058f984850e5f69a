"""The part of an API server that events about pods need, in memory. It obeys the contract test in test_event_api.py."""

import asyncio
from dataclasses import dataclass

from kubernetes_api import ApiError, ConflictError, NotFoundError, PodEvent


@dataclass
class Written:
    """An Event as the server has it."""

    event: PodEvent
    count: int = 1


class FakeEventApi:
    """Events that can be created and counted.

    Attributes:
        events: by name.
        writes: how often something was asked for.
        refusal: what is answered instead, if anything.
        gate: nothing is answered until it is set.
    """

    def __init__(self) -> None:
        self.events: dict[str, Written] = {}
        self.writes = 0
        self.refusal: ApiError | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def create_pod_event(self, event: PodEvent) -> None:
        await self._asked()
        if event.name in self.events:
            raise ConflictError(f'events.events.k8s.io "{event.name}" already exists', 409)
        self.events[event.name] = Written(event)

    async def repeat_pod_event(self, event: PodEvent, count: int) -> None:
        await self._asked()
        if event.name not in self.events:
            raise NotFoundError(f'events.events.k8s.io "{event.name}" not found', 404)
        self.events[event.name].count = count

    async def _asked(self) -> None:
        self.writes += 1
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
