"""The project's own processes beside a control plane: agents that play nodes, and extenders."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from gpu_topology.contract import STATE_ANNOTATION, Allocation
from tests.control_plane.client import ApiError
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.ports import LOOPBACK, free_ports
from tests.control_plane.processes import ChildProcess
from topology_agent.fleet import load_fleet


@dataclass(frozen=True)
class Extender:
    """An extender's process.

    Attributes:
        process: ready once its books are complete.
        url: where it serves filter and prioritize.
        probes_url: where it serves /readyz and /metrics.
    """

    process: ChildProcess
    url: str
    probes_url: str

    def ready(self) -> bool:
        """Whether it says that its books are complete."""
        return _is_ok(f"{self.probes_url}/readyz")


def extender(
    control_plane: ControlPlane,
    *,
    name: str = "extender",
    arguments: Sequence[str] = (),
    kubeconfig: Path | None = None,
    started: str = "/readyz",
) -> Extender:
    """An extender that has yet to be started.

    Args:
        control_plane: the API server that it watches.
        name: in errors, and of its log.
        arguments: further options.
        kubeconfig: whom it is; None for the admin.
        started: the probe that says that it has started.
    """
    verbs_port, probes_port = free_ports(2)
    probes_url = f"http://{LOOPBACK}:{probes_port}"
    listening = ["--verbs-port", str(verbs_port), "--probes-host", LOOPBACK, "--probes-port", str(probes_port)]
    identity = ["--kubeconfig", str(kubeconfig or control_plane.kubeconfig())]
    command = ["extender", *identity, *listening, *arguments]
    process = _module(control_plane, name, command, lambda: _is_ok(f"{probes_url}{started}"))
    return Extender(process, f"http://{LOOPBACK}:{verbs_port}", probes_url)


def agents(
    control_plane: ControlPlane,
    fleet: Path,
    allocation: Allocation,
    *,
    name: str = "topology_agent",
    arguments: Sequence[str] = (),
) -> ChildProcess:
    """One process that plays the agents of many nodes, which has yet to be started; ready once all have published.

    Args:
        control_plane: where the nodes are.
        fleet: a file as `topology_agent --simulate` takes it.
        allocation: who chooses a pod's GPUs inside a node.
        name: in errors, and of its log.
        arguments: further options.
    """
    names = set(load_fleet(fleet))

    def published() -> bool:
        try:
            nodes = control_plane.client.list("Node")
        except (ApiError, httpx.TransportError):
            return False
        return names <= {
            n["metadata"]["name"] for n in nodes if STATE_ANNOTATION in n["metadata"].get("annotations", {})
        }

    identity = ["--kubeconfig", str(control_plane.kubeconfig())]
    command = ["topology_agent", *identity, "--simulate", str(fleet), "--allocation", allocation, *arguments]
    return _module(control_plane, name, command, published)


def _module(control_plane: ControlPlane, name: str, command: Sequence[str], ready: Callable[[], bool]) -> ChildProcess:
    log = control_plane.folder / f"{name}.log"
    return ChildProcess(name, [sys.executable, "-m", *command], log=log, ready=ready)


def _is_ok(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False
