"""Answers leave in one piece."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from benchmarks.served_extender import configuration
from extender.ledger import Ledger
from extender.service import Service
from extender.transport import OnePieceProtocol

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: extender\r\n\r\n"


class Wire(asyncio.Transport):
    """Notes what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = asyncio.Event()
        self.answered = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent.append(bytes(data))
        self.answered.set()

    def close(self) -> None:
        self.closed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@asynccontextmanager
async def connected(
    app: ASGIApp | None = None, state: ServerState | None = None
) -> AsyncIterator[tuple[OnePieceProtocol, Wire]]:
    """A protocol that serves the extender, or another app, on a wire that we can see."""
    config = configuration(Service(Ledger()))
    config.load()
    config.loaded_app = app or config.loaded_app
    protocol, wire = OnePieceProtocol(config, state or ServerState(), {}), Wire()
    protocol.connection_made(wire)
    yield protocol, wire
    protocol.connection_lost(None)


async def test_head_and_body_of_an_answer_are_one_write() -> None:
    async with connected() as (protocol, wire):
        protocol.data_received(REQUEST)
        await asyncio.wait_for(wire.answered.wait(), 10)
        [answer] = wire.sent
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nok")


async def test_what_is_written_before_the_end_of_a_connection_is_sent() -> None:
    async with connected() as (protocol, wire):
        protocol.data_received(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await asyncio.wait_for(wire.closed.wait(), 10)
        assert b"".join(wire.sent).endswith(b"ok")


@pytest.mark.parametrize("requests", [2, 3])
async def test_requests_that_come_together_are_each_answered_in_one_write(requests: int) -> None:
    async with connected() as (protocol, wire):
        protocol.data_received(REQUEST * requests)
        async with asyncio.timeout(10):
            while len(wire.sent) < requests:
                wire.answered.clear()
                await wire.answered.wait()
        assert all(answer.endswith(b"\r\n\r\nok") for answer in wire.sent)
