"""A real control plane with many nodes, on which one scheduler after the other binds the same waiting pods.

The nodes stay; the pods are deleted and made anew for each run. No kubelet and no agent runs: the nodes have the
annotations of agents whose GPUs are all free, and what the pods get is only ever expected.
"""

import os
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Thread
from typing import Any, Final, Self

import httpx
import yaml
from tenacity import Retrying, retry_if_exception_type, stop_after_delay

from benchmarks.synthetic_cluster import pending_pod, published_nodes
from benchmarks.throughput_time import cpu_seconds, extender_seconds, scheduler_seconds
from gpu_topology.errors import GpuTopologyError
from tests.control_plane.client import ApiError, Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.ports import LOOPBACK, free_ports
from tests.control_plane.processes import ChildProcess
from tests.control_plane.stack import SCHEDULER_CONFIG
from tests.go_toolchain import GoModule

SHARES: Final = {8: 0.1, 4: 0.2, 2: 0.3, 1: 0.4}
"""GPUs to the share of the pods that ask for so many: 2.6 on average, so that 2,000 pods find room on 1,000 nodes."""
CONNECTIONS: Final = 8
"""How many objects are created at the same time."""
PATIENCE_SECONDS: Final = 60.0
SLOWEST_PODS_PER_SECOND: Final = 5.0
NAMESPACE: Final = "default"


class Variant(StrEnum):
    """What kube-scheduler works with; all else is the same."""

    NONE = "none"
    GO_ECHO = "go_echo"
    OURS = "ours"
    OURS_WITH_BIND = "ours_with_bind"


class UnboundPodsError(GpuTopologyError):
    """Not all pods were bound in time."""


@dataclass(frozen=True, slots=True)
class Run:
    """How one scheduler has bound all pods.

    Attributes:
        pods_per_second: between the first binding and the last.
        shares: part of the work to the share of that time that it took.
        cpu_ms: process to the CPU time that it took for each pod, in milliseconds.
    """

    pods_per_second: float
    shares: Mapping[str, float]
    cpu_ms: Mapping[str, float]


def pod_sizes(count: int) -> list[int]:
    """GPUs of the pods, in the order in which they are scheduled: the largest first."""
    large = [size for size, share in SHARES.items() for _ in range(int(share * count))]
    return sorted([*large, *[1] * (count - len(large))], reverse=True)


class Testbed:
    """The control plane and its nodes; a context manager that ends what it started.

    Args:
        folder: for the files of the control plane.
        nodes: how many.
        pods: how many wait in each run.
        candidates: how many nodes our filter passes on at most; None: as shipped.
    """

    def __init__(self, folder: Path, nodes: int, pods: int, candidates: int | None = None) -> None:
        self._folder = folder
        self._nodes = nodes
        self._sizes = pod_sizes(pods)
        self._candidates = candidates
        self._control_plane = ControlPlane(folder, apiserver_arguments=["--delete-collection-workers=8"])

    def __enter__(self) -> Self:
        self._control_plane.__enter__()
        self._create(map(_priority_class, SHARES))
        self._create(published_nodes(self._nodes, held_shares=(0.0,)))
        return self

    def __exit__(self, *_: object) -> None:
        self._control_plane.__exit__()

    def run(self, variant: Variant) -> Run:
        """Let all pods be bound by a fresh scheduler.

        Raises:
            UnboundPodsError: some were not.
            ProcessError: a program did not start.
        """
        pods = [_waiting_pod(number, gpus) for number, gpus in enumerate(self._sizes)]
        for attempt in Retrying(retry=retry_if_exception_type(ApiError), stop=stop_after_delay(10), reraise=True):
            with attempt:  # the admission plugin may not have seen the priority classes yet
                self._create(pods[:1])
        self._create(pods[1:])
        try:
            return self._bind_all(variant)
        finally:
            self._control_plane.client.delete_all("Pod")

    def _bind_all(self, variant: Variant) -> Run:
        control_plane = self._control_plane
        bindings = _Bindings(control_plane.client, len(self._sizes))
        with ExitStack() as running:
            extender = self._extender(variant)
            if extender is not None:
                running.enter_context(extender.process)
            bindings.start()
            (port,) = free_ports(1)
            configuration = scheduler_configuration(extender.configuration if extender else None)
            scheduler = running.enter_context(control_plane.start_scheduler(configuration, port=port))
            processes = {
                "etcd": control_plane.etcd.pid,
                "kube-apiserver": control_plane.apiserver.pid,
                "kube-scheduler": scheduler.pid,
                **({"extender": extender.process.pid} if extender else {}),
                "watching client": os.getpid(),
            }
            before = {name: cpu_seconds(pid) for name, pid in processes.items()}
            seconds = bindings.wait()
            cpu = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
            spent = scheduler_seconds(_page(f"https://{LOOPBACK}:{port}/metrics", control_plane))
            if extender is not None and extender.metrics is not None:
                spent |= extender_seconds(_page(extender.metrics, control_plane))
        return Run(
            pods_per_second=(len(self._sizes) - 1) / seconds,
            shares={part: value / seconds for part, value in spent.items()},
            cpu_ms={name: 1000 * value / len(self._sizes) for name, value in cpu.items()},
        )

    def _create(self, objects: Iterable[dict[str, Any]]) -> None:
        with ThreadPoolExecutor(CONNECTIONS) as workers:
            for _ in workers.map(self._control_plane.client.create, objects):
                pass

    def _extender(self, variant: Variant) -> "_Extender | None":
        verbs, probes = free_ports(2)
        url = f"http://{LOOPBACK}:{verbs}"
        match variant:
            case Variant.NONE:
                return None
            case Variant.GO_ECHO:
                program = GoModule(Path(__file__).parent / "echo_extender", label="echo-extender").build(
                    "echo_extender"
                )
                command = [str(program), "-address", f"{LOOPBACK}:{verbs}"]
                configuration = {"urlPrefix": url, "preemptVerb": ""}
                return _Extender(self._process(command, f"{url}/healthz"), configuration)
            case Variant.OURS | Variant.OURS_WITH_BIND:
                binds = variant is Variant.OURS_WITH_BIND
                command = [
                    *(sys.executable, "-m", "extender", "--kubeconfig", str(self._control_plane.kubeconfig())),
                    *("--verbs-port", str(verbs), "--probes-host", LOOPBACK, "--probes-port", str(probes)),
                    *(["--bind"] if binds else []),
                    *(["--max-candidates", str(self._candidates)] if self._candidates is not None else []),
                ]
                configuration = {"urlPrefix": url} | ({"bindVerb": "bind"} if binds else {})
                probes_url = f"http://{LOOPBACK}:{probes}"
                process = self._process(command, f"{probes_url}/readyz")
                return _Extender(process, configuration, f"{probes_url}/metrics")

    def _process(self, command: list[str], readiness: str) -> ChildProcess:
        def ready() -> bool:
            try:
                return httpx.get(readiness, trust_env=False).is_success
            except httpx.TransportError:
                return False

        return ChildProcess("extender", command, log=self._folder / "extender.log", ready=ready)


def _priority_class(gpus: int) -> dict[str, Any]:
    """Large pods first: kube-scheduler spreads pods over nodes, so that large ones that came later found no room."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": f"gpus-{gpus}"},
        "value": gpus,
        "preemptionPolicy": "Never",
    }


def _waiting_pod(number: int, gpus: int) -> dict[str, Any]:
    pod = pending_pod(f"train-{number:05d}", gpus, NAMESPACE)
    pod["spec"]["priorityClassName"] = f"gpus-{gpus}"
    return pod


def scheduler_configuration(extender: Mapping[str, str] | None) -> dict[str, Any]:
    """The shipped configuration without a lease, since nobody competes here.

    Args:
        extender: changes to the extender; None: without one.
    """
    configuration: dict[str, Any] = yaml.safe_load(SCHEDULER_CONFIG.read_text(encoding="utf-8"))
    configuration["leaderElection"] = {"leaderElect": False}
    if extender is None:
        del configuration["extenders"]
    else:
        configuration["extenders"][0] |= extender
    return configuration


@dataclass(frozen=True, slots=True)
class _Extender:
    """An extender that is not started yet.

    Attributes:
        configuration: what kube-scheduler has to be told beside what is shipped.
        metrics: the URL of its metrics, if it has any.
    """

    process: ChildProcess
    configuration: Mapping[str, str]
    metrics: str | None = None


class _Bindings:
    """Notes when pods are bound, in a thread of its own; a watch is what costs the API server least."""

    def __init__(self, client: Client, pods: int) -> None:
        self._client = client
        self._pods = pods
        self._patience = PATIENCE_SECONDS + pods / SLOWEST_PODS_PER_SECOND
        self._bound_at: dict[str, float] = {}
        # A daemon: where a program does not start, nothing will ever be seen.
        self._thread = Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> float:
        """Wait until all pods are bound; the seconds from the first to the last."""
        self._thread.join(self._patience)
        missing = self._pods - len(self._bound_at)
        if missing:
            raise UnboundPodsError(f"{missing} of {self._pods} pods were not bound in time")
        return max(self._bound_at.values()) - min(self._bound_at.values())

    def _watch(self) -> None:
        deadline = time.monotonic() + self._patience
        with suppress(httpx.TransportError):  # the control plane has ended, after some failure
            # An API server that has just started may end a watch early; each begins with what is bound already.
            while len(self._bound_at) < self._pods and time.monotonic() < deadline:
                self._follow(deadline - time.monotonic())

    def _follow(self, seconds: float) -> None:
        with closing(self._client.watch("Pod", NAMESPACE, field_selector="spec.nodeName!=", seconds=seconds)) as events:
            for _, pod in events:
                self._bound_at.setdefault(pod["metadata"]["name"], time.perf_counter())
                if len(self._bound_at) == self._pods:
                    return


def _page(url: str, control_plane: ControlPlane) -> str:
    return httpx.get(url, verify=control_plane.trust, trust_env=False).raise_for_status().text
