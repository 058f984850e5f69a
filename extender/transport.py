"""Answers that leave in one piece."""

import asyncio
from typing import Any

from extender.connections import LimitedProtocol


class OnePieceProtocol(LimitedProtocol):
    """uvicorn's HTTP protocol with our limits, except that head and body of an answer are sent together.

    Sent one after the other they are two system calls and two packets. The first one wakes kube-scheduler, which takes
    the CPU only to find that the body is still missing.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See `asyncio.Protocol`."""
        super().connection_made(_Collecting(transport, self.loop))  # type: ignore[arg-type]  # a transport by duck type


class _Collecting:
    """A transport that sends what is written in one step of the event loop at once, at the end of the step."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()
