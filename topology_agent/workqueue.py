"""Names that are due for work, each held by one worker at a time: the idea is client-go's `workqueue`."""

import asyncio


class WorkQueue:
    """A queue in which a name stands at most once.

    A name that is added while a worker has it comes up again when that worker is done, so that no change is missed and
    no two workers write the same object.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._taken: set[str] = set()

    def add(self, name: str) -> None:
        """Note that a name is due."""
        if name in self._waiting:
            return
        self._waiting.add(name)
        if name not in self._taken:
            self._queue.put_nowait(name)

    async def take(self) -> str:
        """The name that has waited longest; the taker must say `done` of it."""
        name = await self._queue.get()
        self._waiting.discard(name)
        self._taken.add(name)
        return name

    def done(self, name: str) -> None:
        """Let go of a name that was taken."""
        self._taken.discard(name)
        if name in self._waiting:
            self._queue.put_nowait(name)
