"""What a client may cost: a limit on the time for a request, on the size of its head, and on the number of connections.

uvicorn has none for a client that connects and says nothing, or says it byte by byte, or takes no answer.
"""

import asyncio
from typing import Final, TypeGuard

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEEP_ALIVE_SECONDS: Final = 120
"""How long an idle connection is kept: longer than the 90 s for which kube-scheduler's Go client keeps its own, so that
no request meets a connection that is just being closed."""
REQUEST_SECONDS: Final = 10.0
"""How long a request may take to arrive, and an answer to be taken. kube-scheduler gives up after `httpTimeout`, which
is 2 seconds as shipped."""
HEAD_BYTES: Final = 64 * 1024
"""The most of a request's head that is read after its first piece. kube-scheduler's are below 300 bytes."""
MOST_CONNECTIONS: Final = 250
"""To one listener at the same time. Three listeners and the watches stay below 1,024 file descriptors, which is the
smallest limit that a process usually has."""

_TOO_MANY: Final = "too many connections, and none of them waits for its client"
_TOO_SLOW: Final = "the request did not arrive within {:g} seconds"
_TOO_LONG: Final = "the head of the request is longer than {} bytes"


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, for clients that are slow, or many.

    A request that arrives too slowly is answered with 408, a head that is too long with 431. Where there are too many
    connections the one that has waited longest for its client is closed for the new one: a crowd of idle connections
    shuts nobody out. Only where all others have a request that is being answered is the new one refused, with 503.
    """

    _waiting_since = 0.0
    _is_arriving = False
    _is_in_head = False
    _head_size = 0
    _deadline: asyncio.TimerHandle | None = None
    _taking_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._deadline = self.loop.call_later(KEEP_ALIVE_SECONDS, self._end)
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        was_arriving, was_in_head = self._is_arriving, self._is_in_head
        super().data_received(data)
        if not self._is_arriving:
            self._cancel_deadline()
        elif not was_arriving:
            self._cancel_deadline()
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        if was_in_head and self._is_in_head:
            self._head_size += len(data)
            if self._head_size > HEAD_BYTES:
                self._refuse(b"431 Request Header Fields Too Large", _TOO_LONG.format(HEAD_BYTES))

    def on_message_begin(self) -> None:
        """See httptools: the first byte of a request."""
        super().on_message_begin()
        self._is_arriving = self._is_in_head = True
        self._head_size = 0
        self._waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools: the last byte of a request."""
        self._is_arriving = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See uvicorn: an answer has been handed to the transport."""
        self._waiting_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the client does not take its answer."""
        super().pause_writing()
        self._taking_deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._cancel_taking_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._cancel_deadline()
        self._cancel_taking_deadline()
        super().connection_lost(exc)

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client: this one, if no other waits."""
        open_ones = [each for each in self.connections if _is_open(each)]
        if len(open_ones) <= MOST_CONNECTIONS:
            return
        longest = min((each for each in open_ones if each._waits()), key=lambda each: each._waiting_since)  # noqa: SLF001  of this class
        if longest is self:
            self._refuse(b"503 Service Unavailable", _TOO_MANY)
        else:
            longest._end()  # noqa: SLF001  of this class

    def _waits(self) -> bool:
        """Whether it is the client's turn: no request has arrived that is not answered."""
        return self._is_arriving or self.cycle is None or self.cycle.response_complete

    def _give_up(self) -> None:
        if self._may_answer():
            self._refuse(b"408 Request Timeout", _TOO_SLOW.format(REQUEST_SECONDS))
        else:
            self._end()

    def _may_answer(self) -> bool:
        """Whether the client would take an answer for that to the request which is arriving."""
        if self.cycle is None or self.cycle.scope is not self.scope:  # its head is not complete
            return self.cycle is None or self.cycle.response_complete
        return not self.cycle.response_started

    def _refuse(self, status: bytes, sentence: str) -> None:
        if self.transport.is_closing():
            return
        body = sentence.encode()
        fields = (b"content-type: text/plain; charset=utf-8", b"content-length: %d" % len(body), b"connection: close")
        self.transport.write(b"\r\n".join((b"HTTP/1.1 " + status, *fields, b"", body)))
        self._end()

    def _end(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cancel_taking_deadline(self) -> None:
        if self._taking_deadline is not None:
            self._taking_deadline.cancel()
            self._taking_deadline = None


def _is_open(connection: object) -> TypeGuard[LimitedProtocol]:
    return isinstance(connection, LimitedProtocol) and not connection.transport.is_closing()
