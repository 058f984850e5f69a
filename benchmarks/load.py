"""How the extender answers kube-scheduler's requests, fifty a second, while a large cluster changes under it.

A real process with its default settings, and the small API server of `benchmarks.memory_api_server`. Arrivals are fixed
beforehand (open loop), and a latency counts from the moment that a request was due: one that has to wait behind a slow
answer counts as slow too.
"""

import asyncio
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import httpx
import orjson
from rich.table import Table

from benchmarks import memory
from benchmarks.served_extender import LOOPBACK
from benchmarks.synthetic_cluster import node_names, pending_pod
from tests.control_plane.ports import free_ports

NODES: Final = memory.NODES
PODS: Final = memory.PODS
GPU_PODS: Final = memory.GPU_PODS
SECONDS: Final = 300
REQUESTS_PER_SECOND: Final = 50
CHANGES_PER_SECOND: Final = 100
"""Of nodes and pods together: 16 pods end and 16 start in a second."""
CONNECTIONS: Final = 32
TIMEOUT_SECONDS: Final = 30.0
VERBS: Final = ("filter", "prioritize")

Figures: TypeAlias = dict[str, int | float]
Ask: TypeAlias = Callable[[str, bytes], Awaitable[bytes]]
"""Of a verb, with the body of a request; the body of its answer."""


@dataclass
class Outcome:
    """What came of the requests.

    Attributes:
        milliseconds: latencies by verb, those of answers alone.
        errors: requests without an answer, or with one that is an error.
    """

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)


def measure(seconds: int = SECONDS, nodes: int = NODES, pods: int = PODS, gpu_pods: int = GPU_PODS) -> Figures:
    """p50, p99 and the longest latency in milliseconds by verb, errors, and resident MiB at start, end and peak.

    Half of the requests are filter's, about all nodes; each is followed by prioritize about those that passed, as
    kube-scheduler does. Peak is the most that the process ever held, the lists at its start included (VmHWM).

    Args:
        seconds: how long.
        nodes: how many.
        pods: how many are bound.
        gpu_pods: how many of them have a GPU.

    Raises:
        ProcessError: a process does not become ready, or the books do not know every node in the end.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        api_port, verbs_port, probes_port = free_ports(3)
        api, verbs, probes = (f"http://{LOOPBACK}:{port}" for port in (api_port, verbs_port, probes_port))
        extender = memory.extender(folder, memory.kubeconfig(folder, api_port), verbs_port, probes_port)
        with memory.api_server(folder, api_port, (nodes, pods, gpu_pods)), extender:
            start = memory.memory_mib(extender.pid, "VmRSS")
            outcome = asyncio.run(_load(api, verbs, seconds, node_names(nodes)))
            end = memory.memory_mib(extender.pid, "VmRSS")
            with httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
                memory.check_known(client, probes, nodes)
            peak = memory.memory_mib(extender.pid, "VmHWM")
    figures: Figures = {"nodes": nodes, "pods": pods, "seconds": seconds}
    for verb in VERBS:
        figures |= {f"{verb}_{name}": value for name, value in _summary(outcome, verb).items()}
    return figures | {"start_mib": start, "end_mib": end, "peak_mib": peak}


def table(figures: Figures) -> Table:
    """The figures for a person."""
    result = Table("verb", "requests", "p50 ms", "p99 ms", "longest ms", "errors")
    result.title = f"{figures['seconds']} s of load on {figures['nodes']} nodes"
    columns = ("requests", "p50_ms", "p99_ms", "max_ms", "errors")
    for verb in VERBS:
        result.add_row(verb, *(f"{figures[f'{verb}_{column}']:g}" for column in columns))
    result.caption = "MiB at start, end, peak: " + ", ".join(
        f"{figures[f'{moment}_mib']:g}" for moment in ("start", "end", "peak")
    )
    return result


def _summary(outcome: Outcome, verb: str) -> Figures:
    times = outcome.milliseconds[verb]
    percentiles = statistics.quantiles(times, n=100, method="inclusive")
    return {
        "requests": len(times) + outcome.errors[verb],
        "p50_ms": round(percentiles[49], 3),
        "p99_ms": round(percentiles[98], 3),
        "max_ms": round(max(times), 3),
        "errors": outcome.errors[verb],
    }


async def _load(api: str, verbs: str, seconds: int, names: list[str]) -> Outcome:
    outcome = Outcome()
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with (
        httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS, limits=limits) as client,
        asyncio.TaskGroup() as tasks,
    ):

        async def ask(verb: str, body: bytes) -> bytes:
            response = await client.post(f"{verbs}/{verb}", content=body)
            return response.raise_for_status().content

        tasks.create_task(_change(client, api, seconds))
        cycles = seconds * REQUESTS_PER_SECOND // len(VERBS)
        start = time.perf_counter()
        for number in range(cycles):
            due = start + number * len(VERBS) / REQUESTS_PER_SECOND
            await asyncio.sleep(due - time.perf_counter())
            tasks.create_task(_schedule(ask, number, due, names, outcome))
    return outcome


async def _change(client: httpx.AsyncClient, api: str, seconds: int) -> None:
    """Let the cluster change, a second's changes at a time."""
    start = time.perf_counter()
    for second in range(seconds):
        await asyncio.sleep(start + second - time.perf_counter())
        (await client.post(f"{api}/changes/{CHANGES_PER_SECOND}")).raise_for_status()


async def _schedule(ask: Ask, number: int, due: float, names: list[str], outcome: Outcome) -> None:
    """Ask what kube-scheduler asks about one pod: filter, and prioritize half an interval later at the earliest."""
    gpus = memory.ASKED_SIZES[number % len(memory.ASKED_SIZES)]
    pod = pending_pod(f"train-{number}", gpus)
    passed = await _ask(ask, "filter", pod, names, due, outcome)
    if passed is None:
        outcome.errors["prioritize"] += 1  # it could not be asked
        return
    due += 1 / REQUESTS_PER_SECOND
    await asyncio.sleep(due - time.perf_counter())
    await _ask(ask, "prioritize", pod, passed["NodeNames"], due, outcome)


async def _ask(  # noqa: PLR0913, PLR0917  what a question has
    ask: Ask, verb: str, pod: dict[str, Any], names: list[str], due: float, outcome: Outcome
) -> Any:
    """The answer; None where there is none, or an error."""
    body = orjson.dumps({"Pod": pod, "Nodes": None, "NodeNames": names})
    try:
        answer = orjson.loads(await ask(verb, body))
    except (httpx.HTTPError, orjson.JSONDecodeError):
        outcome.errors[verb] += 1
        return None
    if verb == "filter" and answer["Error"]:
        outcome.errors[verb] += 1
        return None
    outcome.milliseconds[verb].append((time.perf_counter() - due) * 1000)
    return answer
