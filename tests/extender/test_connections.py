"""Clients that are slow, or many, or send more than anybody asked for, over real sockets to a process."""

import asyncio
import http.client
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest
from tenacity import retry, retry_if_result, stop_after_delay
from uvicorn.server import ServerState

from extender import connections
from extender.connections import HEAD_BYTES, MOST_CONNECTIONS
from tests.extender.test_process import KUBECONFIG, REQUEST, Running, get, started
from tests.extender.test_transport import connected

MIB: Final = 2**20
SECONDS: Final = 0.5
CONNECTIONS: Final = 20
SHORTENED = f"""
import sys
from extender import connections
from extender.__main__ import main

connections.REQUEST_SECONDS, connections.MOST_CONNECTIONS = {SECONDS}, {CONNECTIONS}
sys.exit(main(sys.argv[1:]))
"""
PROGRAM = [sys.executable, "-c", SHORTENED]
"""The extender with limits that a test can reach."""

HEAD = b"POST /filter HTTP/1.1\r\nHost: extender\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(REQUEST)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("connections") / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


@pytest.fixture(scope="module")
def extender(kubeconfig: Path) -> Iterator[Running]:
    """One for all tests: what one of them leaves behind, the next ones see."""
    with started(kubeconfig, program=PROGRAM) as running:
        yield running


def connect(address: str) -> socket.socket:
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def rest(connection: socket.socket) -> bytes:
    """All that is still sent, to the end of the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def open_files(extender: Running) -> int:
    return len(os.listdir(f"/proc/{extender.process.pid}/fd"))  # noqa: PTH208  the names are not read


def resident_mib(extender: Running) -> float:
    status = Path(f"/proc/{extender.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.parametrize(
    "beginning", [HEAD, HEAD + LENGTH + REQUEST[:10], HEAD + b'Transfer-Encoding: chunked\r\n\r\n4\r\n{"Po\r\n']
)
def test_a_request_that_does_not_end_is_answered_with_408(extender: Running, beginning: bytes) -> None:
    with closing(connect(extender.verbs)) as connection:
        connection.sendall(beginning)
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert answer.endswith(b"\r\n\r\nthe request did not arrive within 0.5 seconds")


@pytest.mark.parametrize("before", [b"", HEAD + LENGTH + REQUEST], ids=["first", "second"])
def test_a_byte_now_and_then_prolongs_nothing(extender: Running, before: bytes) -> None:
    """Neither in the first request of a connection nor in a later one."""
    with closing(connect(extender.verbs)) as connection:
        connection.sendall(before)
        if before:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.settimeout(SECONDS / 10)
        answer = b""
        for byte in (HEAD + b"X: " + b"x" * 100)[:100]:
            connection.sendall(bytes([byte]))
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_get_with_a_body_that_does_not_end_is_answered_once(extender: Running) -> None:
    with closing(connect(extender.probes)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: extender\r\nContent-Length: 10\r\n\r\nx")
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_head_without_end_is_answered_with_431(extender: Running) -> None:
    with closing(connect(extender.verbs)) as connection:
        connection.sendall(HEAD + b"X: ")
        answer = b""
        connection.settimeout(0.01)
        for _ in range(100):
            try:
                connection.sendall(b"x" * (HEAD_BYTES // 8))
                answer = connection.recv(65536)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 431")
    assert b"longer than 65536 bytes" in answer


def test_a_crowd_of_idle_connections_shuts_nobody_out(extender: Running) -> None:
    """On either listener; those that have been idle for longest are closed."""
    with ExitStack() as crowd:
        opened = [
            crowd.enter_context(closing(connect(address)))
            for address in (extender.verbs, extender.probes)
            for _ in range(10 * CONNECTIONS)
        ]
        assert get(extender.probes, "/healthz") == (200, b"ok")
        with closing(http.client.HTTPConnection(extender.verbs, timeout=10)) as asking:
            asking.request("POST", "/filter", body=REQUEST)
            assert b'"NodeNames":["a"]' in asking.getresponse().read()
        assert open_files(extender) < 2 * CONNECTIONS + 50
        assert opened[0].recv(1) == b""


async def test_a_connection_that_never_asks_anything_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.01)
    async with connected() as (_, wire):
        await asyncio.wait_for(wire.closed.wait(), 10)
        assert wire.sent == []


async def test_where_every_request_is_being_answered_a_new_connection_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In memory: over sockets it cannot be told that all of them have been read."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 1)
    state = ServerState()

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    async with connected(never, state) as (busy, wire):
        busy.data_received(b"GET / HTTP/1.1\r\nHost: extender\r\n\r\n")
        async with connected(never, state) as (_, refused):
            assert refused.is_closing()
            [answer] = refused.sent
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert answer.endswith(b"too many connections, and none of them waits for its client")
        assert not wire.is_closing()
        for task in state.tasks:
            task.cancel()


def test_who_takes_no_answer_is_hung_up_on(extender: Running) -> None:
    """The kernel holds the first answers; then the extender would, without end."""
    question = b"GET /metrics HTTP/1.1\r\nHost: extender\r\n\r\n"
    before = open_files(extender)
    with closing(connect(extender.probes)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.2)

        @retry(retry=retry_if_result(lambda _: True), stop=stop_after_delay(20))
        def ask_again() -> None:
            try:
                connection.sendall(question * 50)
            except TimeoutError:
                return

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask_again()
    assert open_files(extender) <= before


def body_of(mib: int) -> Iterator[bytes]:
    for _ in range(mib):
        yield b" " * MIB


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with a length", "chunked"])
def test_a_huge_request_is_refused_in_a_sentence_and_leaves_nothing_behind(
    extender: Running, *, is_chunked: bool
) -> None:
    def ask() -> bytes:
        length = {} if is_chunked else {"Content-Length": str(65 * MIB)}
        with closing(http.client.HTTPConnection(extender.verbs, timeout=20)) as connection:
            connection.request("POST", "/filter", body=body_of(65), headers=length)
            response = connection.getresponse()
            assert response.status == 200
            return response.read()

    first = ask()
    assert b"larger than 64 MiB" in first
    resident = resident_mib(extender)
    assert [ask() for _ in range(3)] == [first] * 3
    assert resident_mib(extender) < resident + 32


def test_a_request_that_never_ends_does_not_hold_up_the_end(kubeconfig: Path) -> None:
    with started(kubeconfig, program=PROGRAM) as running, closing(connect(running.verbs)) as connection:
        connection.sendall(HEAD + LENGTH + REQUEST[:10])
        assert get(running.probes, "/healthz")[0] == 200
        running.process.send_signal(signal.SIGTERM)
        running.logged("stopped")
        assert running.process.wait(timeout=20) == 0


def test_three_full_listeners_leave_file_descriptors_for_the_watches() -> None:
    """Of the 1,024 that a process has where nobody has said more."""
    assert 3 * MOST_CONNECTIONS + 200 <= 1024
