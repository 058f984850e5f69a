"""How long filter and prioritize take over HTTP, beside a Go extender without any policy.

Both extenders run in processes of their own and answer the same client on one kept-alive loopback connection, as
kube-scheduler's does. Ours has full caches: every node has published its topology and its state.
"""

import http.client
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import orjson
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.synthetic_cluster import node_names, pending_pod
from extender.settings import Settings
from tests.control_plane.ports import free_ports
from tests.control_plane.processes import ChildProcess
from tests.go_toolchain import GoModule

SIZES = (100, 1000, 5000)
"""Nodes that kube-scheduler asks about in one call."""
SHIPPED_CANDIDATES: int = Settings.model_fields["max_candidates"].default
"""`max_candidates` as shipped: how many nodes filter passes on."""
WARM_UP_CALLS = 30
READY_SECONDS = 120.0

Milliseconds = float


@dataclass(frozen=True, slots=True)
class Target:
    """One series of calls: an extender's port, the verb, and the prefix of its figures' names."""

    name: str
    port: int
    verb: str


@dataclass(frozen=True, slots=True)
class Served:
    """A server on a loopback port, not started yet."""

    process: ChildProcess
    port: int


def measure(sizes: Sequence[int] = SIZES, calls: int = 300) -> dict[str, dict[str, Milliseconds]]:
    """p50 and p99 in milliseconds of every verb at every size: `{"5000": {"filter_p50_ms": ...}}`.

    `filter` passes on the best 100, as shipped; `filter_all` every node that can serve the pod; `prioritize` is asked
    about every node, although after the shipped filter it would be asked about 100.

    Args:
        sizes: numbers of nodes.
        calls: timed calls of each verb, alternating between the extenders so that noise hits them alike.
    """
    return {str(size): _measure_one(size, calls) for size in track(sizes, "measuring", console=Console(stderr=True))}


def table(figures: dict[str, dict[str, Milliseconds]]) -> Table:
    """The figures for a person."""
    result = Table("nodes", "call", "p50 ms", "p99 ms", "Go echo p50 ms", "Go echo p99 ms", title="Latency over HTTP")
    for size, row in figures.items():
        for call in ("filter", "filter_all", "prioritize"):
            peer = call.removesuffix("_all")
            figures_shown = [row[f"{call}_p50_ms"], row[f"{call}_p99_ms"], row[f"go_{peer}_p50_ms"]]
            result.add_row(size, call, *(f"{value:.2f}" for value in [*figures_shown, row[f"go_{peer}_p99_ms"]]))
    return result


def _measure_one(size: int, calls: int) -> dict[str, Milliseconds]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        shipped, unlimited, echo = _ours(size, SHIPPED_CANDIDATES, folder), _ours(size, 0, folder), _go_echo(folder)
        targets = [
            Target("filter", shipped.port, "filter"),
            Target("filter_all", unlimited.port, "filter"),
            Target("prioritize", unlimited.port, "prioritize"),
            Target("go_filter", echo.port, "filter"),
            Target("go_prioritize", echo.port, "prioritize"),
        ]
        with shipped.process, unlimited.process, echo.process:
            timings = _time_calls(targets, _requests(size), calls)
    figures = {}
    for target in targets:
        percentiles = statistics.quantiles(timings[target.name], n=100)
        figures[f"{target.name}_p50_ms"] = round(percentiles[49], 3)
        figures[f"{target.name}_p99_ms"] = round(percentiles[98], 3)
    return figures


def _requests(size: int) -> list[bytes]:
    """Bodies as kube-scheduler sends them, for pods of several sizes."""
    names = node_names(size)
    return [
        orjson.dumps({"Pod": pending_pod(f"train-{gpus}", gpus), "Nodes": None, "NodeNames": names})
        for gpus in (1, 2, 4, 8)
    ]


def _time_calls(targets: Sequence[Target], bodies: Sequence[bytes], calls: int) -> dict[str, list[Milliseconds]]:
    connections = {port: http.client.HTTPConnection("127.0.0.1", port) for port in {target.port for target in targets}}
    timings: dict[str, list[Milliseconds]] = {target.name: [] for target in targets}
    for call in range(WARM_UP_CALLS + calls):
        for target in targets:
            elapsed = _time_one(connections[target.port], target.verb, bodies[call % len(bodies)])
            if call >= WARM_UP_CALLS:
                timings[target.name].append(elapsed)
    for connection in connections.values():
        connection.close()
    return timings


def _time_one(connection: http.client.HTTPConnection, verb: str, body: bytes) -> Milliseconds:
    start = time.perf_counter()
    connection.request("POST", f"/{verb}", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = response.read()
    elapsed = (time.perf_counter() - start) * 1000
    if response.status != http.client.OK or not answer:
        raise RuntimeError(f"{verb} answered {response.status}: {answer[:200]!r}")
    return elapsed


def _ours(size: int, max_candidates: int, folder: Path) -> Served:
    (port,) = free_ports(1)
    options = ["--port", str(port), "--max-candidates", str(max_candidates)]
    return _served(
        f"extender-{max_candidates}", [sys.executable, "-m", "benchmarks", "serve", str(size), *options], port, folder
    )


def _go_echo(folder: Path) -> Served:
    program = GoModule(Path(__file__).parent / "echo_extender", label="echo-extender").build("echo_extender")
    (port,) = free_ports(1)
    return _served("go-echo", [str(program), "-address", f"127.0.0.1:{port}"], port, folder)


def _served(name: str, command: list[str], port: int, folder: Path) -> Served:
    def healthy() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).is_success
        except httpx.TransportError:
            return False

    process = ChildProcess(name, command, log=folder / f"{name}.log", ready=healthy, ready_within=READY_SECONDS)
    return Served(process, port)
