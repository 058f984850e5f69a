"""`python -m extender` as a process, without an API server."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pytest

from tests.control_plane.certificates import CertificateAuthority

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {token: none}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
current-context: nowhere
"""
"""Of an API server that nobody runs: the caches never sync."""

COMMAND = [sys.executable, "-m", "extender"]
REQUEST = json.dumps({"Pod": {"spec": {"containers": []}}, "Nodes": None, "NodeNames": ["a"]}).encode()


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


class Running:
    """An extender in a process of its own, on free ports of loopback."""

    def __init__(self, kubeconfig: Path, arguments: Sequence[str] = (), program: Sequence[str] = COMMAND) -> None:
        self.process = subprocess.Popen(
            [
                *program,
                *("--kubeconfig", str(kubeconfig)),
                *("--verbs-port", "0", "--probes-host", "127.0.0.1", "--probes-port", "0"),
                *arguments,
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[dict[str, Any]] = []
        listening = self.logged("listening")
        self.scheme = urlsplit(listening["verbs"]).scheme
        self.verbs, self.probes = urlsplit(listening["verbs"]).netloc, urlsplit(listening["probes"]).netloc
        self.page = urlsplit(listening["page"]).netloc if listening["page"] else None

    def logged(self, event: str) -> dict[str, Any]:
        """Wait for an event in the log."""
        for line in self.stderr:
            entry: dict[str, Any] = json.loads(line)
            self.seen.append(entry)
            if entry["event"] == event:
                return entry
        pytest.fail(f"the extender ended without logging {event!r}")

    @property
    def stderr(self) -> IO[str]:
        assert self.process.stderr is not None
        return self.process.stderr


@contextmanager
def started(kubeconfig: Path, arguments: Sequence[str] = (), program: Sequence[str] = COMMAND) -> Iterator[Running]:
    """A running extender, which is killed at the end unless it has ended by then."""
    running = Running(kubeconfig, arguments, program)
    with running.process:
        try:
            yield running
        finally:
            running.process.kill()


@pytest.fixture
def extender(kubeconfig: Path) -> Iterator[Running]:
    with started(kubeconfig) as running:
        yield running


def get(address: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def test_it_lives_but_is_not_ready_while_the_api_server_is_away(extender: Running) -> None:
    assert get(extender.probes, "/healthz") == (200, b"ok")
    status, reason = get(extender.probes, "/readyz")
    assert (status, reason) == (
        503,
        b"the extender is still waiting for the API server's list of nodes, pods and deviceclasses",
    )
    assert b'gpu_scheduler_watch_synced{resource="nodes"} 0.0' in get(extender.probes, "/metrics")[1]
    assert get(extender.verbs, "/metrics")[0] == 404


def test_without_a_port_for_it_there_is_no_page(extender: Running) -> None:
    assert extender.page is None
    assert get(extender.verbs, "/")[0] == get(extender.probes, "/")[0] == 404


def test_the_page_has_a_listener_of_its_own(kubeconfig: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("correct-horse-battery")
    running = Running(kubeconfig, ["--page-port", "0", "--page-token-file", str(token)])
    with running.process:
        assert running.page is not None
        assert b"<title>GPU topology</title>" in get(running.page, "/")[1]
        assert get(running.page, "/v1/cluster")[0] == 401
        assert get(running.page, "/metrics")[0] == 404
        running.process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(extender: Running, number: signal.Signals) -> None:
    extender.process.send_signal(number)
    extender.logged("stopped")
    assert extender.process.wait(timeout=20) == 0


def test_a_request_in_flight_is_answered_before_the_end(extender: Running) -> None:
    host, port = extender.verbs.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = f"POST /filter HTTP/1.1\r\nHost: extender\r\nContent-Length: {len(REQUEST)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + REQUEST[:10])
        # An answer on the other listener shows that the half of the request has been read before the signal.
        assert get(extender.probes, "/healthz")[0] == 200
        extender.process.send_signal(signal.SIGTERM)
        extender.logged("stopping")
        connection.sendall(REQUEST[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"NodeNames":["a"]' in answer
    assert extender.process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--verbs-port", "99999"], "--verbs-port or GPU_SCHEDULER_VERBS_PORT is '99999'"),
        (["--page-port", "0"], "--page-port takes --page-token-file too: nobody sees the page without a token"),
        (["--page-token-file", "no-such-file"], "--page-token-file or GPU_SCHEDULER_PAGE_TOKEN_FILE is 'no-such-file'"),
        (["--colour", "green"], "unrecognized arguments: --colour green"),
        (["--kubeconfig", "no-such-file"], "--kubeconfig or GPU_SCHEDULER_KUBECONFIG is 'no-such-file'"),
    ],
)
def test_a_bad_setting_is_one_line_and_status_2(arguments: list[str], message: str) -> None:
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_said_in_one_line(kubeconfig: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["--verbs-port", port, "--probes-port", "0", "--kubeconfig", str(kubeconfig)]
        ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert f"verbs: cannot listen on 127.0.0.1, port {port}: Address already in use" in ended.stderr


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path / "certificates")


@pytest.fixture
def tls(authority: CertificateAuthority) -> list[str]:
    """The options of an extender with a certificate."""
    serving = authority.issue("serving", "extender", hosts=["127.0.0.1"])
    files = {"certificate": serving.certificate, "key": serving.key, "client-ca": authority.certificate}
    return [f"--tls-{name}={path}" for name, path in files.items()]


def test_with_a_certificate_the_verbs_are_for_those_who_have_one_too_and_the_probes_for_everybody(
    kubeconfig: Path, authority: CertificateAuthority, tls: list[str]
) -> None:
    """Over a connection that ends when the certificates are replaced: it was made with the old ones."""
    context = ssl.create_default_context(cafile=authority.certificate)
    with started(kubeconfig, tls) as running:
        assert running.scheme == "https"
        assert get(running.probes, "/healthz") == (200, b"ok")
        host, port = running.verbs.split(":")
        stranger = http.client.HTTPSConnection(host, int(port), timeout=20, context=context)
        with closing(stranger), pytest.raises((ssl.SSLError, ConnectionError)):
            ask(stranger)
        context.load_cert_chain(*authority.issue("client", "kube-scheduler"))
        with closing(http.client.HTTPSConnection(host, int(port), timeout=20, context=context)) as connection:
            assert b'"NodeNames":["a"]' in ask(connection)
            authority.issue("serving", "extender", hosts=["127.0.0.1"])
            assert connection.sock.recv(1) == b""
        metrics = get(running.probes, "/metrics")[1].decode()
        running.process.send_signal(signal.SIGTERM)
        running.logged("stopped")
        assert running.process.wait(timeout=20) == 0
    assert 'gpu_scheduler_certificate_reloads_total{outcome="replaced"} 1.0' in metrics
    assert 'gpu_scheduler_refused_connections_total{reason="PEER_DID_NOT_RETURN_A_CERTIFICATE"} 1.0' in metrics


def ask(connection: http.client.HTTPSConnection) -> bytes:
    """The answer to a filter request; the connection stays open."""
    connection.request("POST", "/filter", body=REQUEST)
    return connection.getresponse().read()


def test_a_certificate_that_cannot_be_used_is_said_in_one_line(kubeconfig: Path, tls: list[str]) -> None:
    Path(tls[0].partition("=")[2]).write_text("no certificate")
    arguments = ["--kubeconfig", str(kubeconfig), *tls]
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith("extender: certificate ")
    assert "serving.crt" in line


@pytest.mark.parametrize(("host", "is_warned_of"), [("127.0.0.2", False), ("0.0.0.0", True)])  # noqa: S104  is warned of
def test_verbs_beyond_loopback_without_certificates_are_warned_of(
    kubeconfig: Path, host: str, *, is_warned_of: bool
) -> None:
    with started(kubeconfig, ["--verbs-host", host]) as running:
        pass
    assert any("beyond loopback" in entry["event"] for entry in running.seen) is is_warned_of


def test_importing_the_package_does_nothing() -> None:
    """Not even reading the environment: a broken variable is found when the settings are read."""
    ended = subprocess.run(
        [sys.executable, "-c", "import extender.app, extender.serve, extender.__main__"],
        env=os.environ | {"GPU_SCHEDULER_VERBS_PORT": "broken"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
