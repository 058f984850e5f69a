"""How much memory the extender holds that keeps the books of a large cluster, and whether it stays so.

A real process, with its default settings. The API server that it watches is a small one of ours in another process:
see `benchmarks.memory_api_server`.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from benchmarks.served_extender import LOOPBACK
from benchmarks.synthetic_cluster import node_names, pending_pod
from tests.control_plane.ports import free_ports
from tests.control_plane.processes import ChildProcess, ProcessError

NODES: Final = 5000
PODS: Final = 50_000
GPU_PODS: Final = 40_000
CHANGES: Final = 50_000
ASKED_SIZES: Final = (1, 2, 4, 8)
READY_SECONDS: Final = 300.0
POLL_SECONDS: Final = 0.1

Figures: TypeAlias = dict[str, int | float]


def measure(nodes: int = NODES, pods: int = PODS, gpu_pods: int = GPU_PODS, changes: int = CHANGES) -> Figures:
    """What the extender's process holds.

    `resident_mib` once its books are complete and it has answered kube-scheduler about all nodes,
    `resident_after_churn_mib` after that many changes more, and `peak_mib` the most at any time, to the end of a second
    list beside the complete books (VmRSS and VmHWM of `/proc/<pid>/status`). `sync_seconds` is from its start to
    complete books, this API server's own work included.

    Args:
        nodes: how many.
        pods: how many are bound.
        gpu_pods: how many of them have a GPU.
        changes: of nodes and pods, over the watches.

    Raises:
        ProcessError: a process does not become ready, or the books do not know every node in the end.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        api_port, verbs_port, probes_port = free_ports(3)
        api, verbs, probes = (f"http://{LOOPBACK}:{port}" for port in (api_port, verbs_port, probes_port))
        served = extender(folder, kubeconfig(folder, api_port), verbs_port, probes_port)
        with (
            api_server(folder, api_port, (nodes, pods, gpu_pods)),
            httpx.Client(trust_env=False, timeout=READY_SECONDS) as client,
        ):
            started = time.monotonic()
            with served:
                sync_seconds = time.monotonic() - started
                check_known(client, probes, nodes)
                _ask(client, verbs, nodes)
                resident = memory_mib(served.pid, "VmRSS")
                _change(client, api, verbs, changes)
                check_known(client, probes, nodes)
                _ask(client, verbs, nodes)
                after_churn = memory_mib(served.pid, "VmRSS")
                client.post(f"{api}/expiration").raise_for_status()
                _change(client, api, verbs, 0)
                check_known(client, probes, nodes)
                return {
                    "nodes": nodes,
                    "pods": pods,
                    "gpu_pods": gpu_pods,
                    "resident_mib": resident,
                    "peak_mib": memory_mib(served.pid, "VmHWM"),
                    "sync_seconds": round(sync_seconds, 1),
                    "resident_after_churn_mib": after_churn,
                }


def table(figures: Figures) -> Table:
    """The figures for a person."""
    result = Table("nodes", "pods", "with GPUs", "MiB", "MiB, peak", "MiB after the changes", "s to complete books")
    columns = ("nodes", "pods", "gpu_pods", "resident_mib", "peak_mib", "resident_after_churn_mib", "sync_seconds")
    result.title = "Memory of the extender"
    result.add_row(*(f"{figures[column]:g}" for column in columns))
    return result


def api_server(folder: Path, port: int, sizes: tuple[int, int, int]) -> ChildProcess:
    """An API server of a cluster with so many nodes, pods, and pods with GPUs; not started yet."""
    command = [sys.executable, "-m", "benchmarks.memory_api_server", str(port), *map(str, sizes)]
    ready = _probe(f"http://{LOOPBACK}:{port}/readyz")
    return ChildProcess("API server", command, log=folder / "api.log", ready=ready, ready_within=READY_SECONDS)


def extender(folder: Path, kubeconfig: Path, verbs_port: int, probes_port: int) -> ChildProcess:
    """An extender with its default settings; not started yet."""
    listening = ["--verbs-port", str(verbs_port), "--probes-host", LOOPBACK, "--probes-port", str(probes_port)]
    command = [sys.executable, "-m", "extender", "--kubeconfig", str(kubeconfig), *listening]
    ready = _probe(f"http://{LOOPBACK}:{probes_port}/readyz")
    return ChildProcess("extender", command, log=folder / "extender.log", ready=ready, ready_within=READY_SECONDS)


def kubeconfig(folder: Path, port: int) -> Path:
    """A file that leads to the API server at a port of loopback."""
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://{LOOPBACK}:{port}"}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


def _probe(url: str) -> Callable[[], bool]:
    def is_ok() -> bool:
        try:
            return httpx.get(url, trust_env=False).is_success
        except httpx.TransportError:
            return False

    return is_ok


def _ask(client: httpx.Client, verbs: str, nodes: int) -> None:
    """What kube-scheduler asks, so that what is remembered of nodes for the next question is there too."""
    names = node_names(nodes)
    for gpus in ASKED_SIZES:
        body = {"Pod": pending_pod(f"train-{gpus}", gpus), "Nodes": None, "NodeNames": names}
        for verb in ("filter", "prioritize"):
            client.post(f"{verbs}/{verb}", json=body).raise_for_status()


def check_known(client: httpx.Client, probes: str, nodes: int) -> None:
    """Raise `ProcessError` unless the books know so many nodes."""
    metrics = client.get(f"{probes}/metrics").raise_for_status().text
    known = sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "gpu_scheduler_nodes" and sample.labels["knowledge"] == "known"
    )
    if known != nodes:
        raise ProcessError(f"the extender's books know {known:g} of {nodes} nodes")


def _change(client: httpx.Client, api: str, verbs: str, changes: int) -> None:
    """Let the cluster change, and wait until the extender has seen all of it."""
    mark = client.post(f"{api}/changes/{changes}").raise_for_status().json()
    _wait(lambda: _has_seen(client, verbs, mark))


def _has_seen(client: httpx.Client, verbs: str, mark: dict[str, Any]) -> bool:
    """Whether both watches have come to their ends: the node's shows in its report, the pod's in what is expected."""
    account = client.get(f"{verbs}/v1/nodes/{mark['node']}").raise_for_status().json()
    return bool(account["sequence"] == mark["sequence"] and mark["pod"] in account["expected"])


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ProcessError(f"the extender has not seen all changes after {READY_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


def memory_mib(pid: int, field: str) -> float:
    """A field of `/proc/<pid>/status` that is in KiB, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return round(kib / 1024, 1)
