"""The demonstration without a cluster: the same pods, scheduled with and without knowledge of links.

Machines are profiles of real ones. Each node's agent is the real one's code, playing the kubelet; the extender is the
real service behind real HTTP; the requests are those that kube-scheduler sends. Beside it the same pods go where
kube-scheduler's own scoring would have put them.
"""

from collections.abc import Iterator
from contextlib import suppress
from threading import Event
from typing import Any, Final

import orjson
from rich.console import Console
from rich.live import Live

from benchmarks.comparison import Got, Row, summary, table, verdict
from benchmarks.schedulers import DefaultScheduler, ExtendedScheduler, Scheduler
from benchmarks.served_extender import served
from benchmarks.simulated_cluster import SimulatedCluster
from benchmarks.synthetic_cluster import pending_pod
from extender.ledger import Ledger
from extender.service import Service
from gpu_topology.contract import Allocation
from gpu_topology.request import GPU_RESOURCE
from simulator.kube_scheduler import EXTENDER_WEIGHT
from topology_agent.profiles import load_machine

MACHINES: Final = {
    "hgx-h100": "hgx-h100",
    "dgx-a100": "dgx-a100",
    "dgx-1v": "dgx-1v",
    "bridged-pairs": "bridged-pairs-8",
    "pcie-switches": "pcie-8",
    "pcie-no-switch": "pcie-4-node-sys",
    "gb200-tray": "gb200-tray",
    "ac922": "ac922",
}
"""Node to machine profile."""
SIZES: Final = (4, 2, 2, 4, 1, 2, 8, 1, 2, 4, 2, 1, 2, 2, 4, 1, 2, 1, 4, 2, 2, 1, 8, 2, 4, 2)
"""GPUs of the pods, in the order of their arrival."""
STAYS: Final = 12
"""How many arrivals later a pod ends."""


def job_names() -> list[str]:
    """The names of the pods, in the order of their arrival."""
    return [f"job-{number:02d}" for number in range(len(SIZES))]


def show(console: Console, seed: int = 1, *, keep: bool = False) -> dict[str, float]:
    """Schedule the stream of pods in both worlds, print a row a pod and the verdict; returns the figures.

    Args:
        console: where to print.
        seed: of the vendor's random choices and of kube-scheduler's ties.
        keep: go on serving until interrupted.
    """
    ledger = Ledger()
    rows: list[Row] = []
    console.print(_HEADING.format(nodes=len(MACHINES), pods=len(SIZES)))
    with served(Service(ledger)) as url:
        ours = SimulatedCluster(_machines(), Allocation.VENDOR, seed, ledger.apply_node)
        default = SimulatedCluster(_machines(), Allocation.VENDOR, seed, lambda _: None)
        schedulers = (ExtendedScheduler(url, EXTENDER_WEIGHT, seed), DefaultScheduler(seed))
        with Live(console=console, auto_refresh=False) as live:
            for row in _stream(list(zip((ours, default), schedulers, strict=True))):
                rows.append(row)
                live.update(table(rows), refresh=True)
        figures = summary(rows)
        console.print(verdict(figures))
        if keep:
            _stay_up(console, url)
    return figures


_HEADING: Final = (
    "[bold]{pods} pods on {nodes} nodes.[/bold] Inside each node the vendor's device plugin chooses the GPUs, as it "
    "does on a stock node.\nGB/s is what the best ring through the pod's GPUs sustains.\n"
)
_KEPT_UP: Final = """
The extender still serves. Ask it as kube-scheduler does (Ctrl-C ends it):

  curl -s {url}/prioritize -H 'Content-Type: application/json' -d '{example}'
  curl -s {url}/metrics
"""


def _machines() -> dict[str, Any]:
    return {node: load_machine(machine) for node, machine in MACHINES.items()}


def _stream(worlds: list[tuple[SimulatedCluster, Scheduler]]) -> Iterator[Row]:
    """Pods arrive one by one; each stays for `STAYS` arrivals."""
    running: dict[str, list[SimulatedCluster]] = {}
    names = job_names()
    for number, (name, gpus) in enumerate(zip(names, SIZES, strict=True)):
        if number >= STAYS:
            ended, size = names[number - STAYS], SIZES[number - STAYS]
            for cluster in running.pop(ended):
                cluster.release(pending_pod(ended, size)["metadata"]["uid"], size)
        pod = pending_pod(name, gpus)
        got = [_schedule(cluster, scheduler, pod, gpus) for cluster, scheduler in worlds]
        running[name] = [cluster for (cluster, _), result in zip(worlds, got, strict=True) if result]
        yield Row(name, gpus, *got)


def _schedule(cluster: SimulatedCluster, scheduler: Scheduler, pod: dict[str, Any], gpus: int) -> Got | None:
    node = scheduler.choose(cluster, pod, gpus)
    return None if node is None else cluster.bind(pod, node, gpus)


def _stay_up(console: Console, url: str) -> None:
    container = {"name": "main", "resources": {"limits": {GPU_RESOURCE: "2"}}}
    pod = {"metadata": {"name": "by-hand"}, "spec": {"containers": [container]}}
    example = orjson.dumps({"Pod": pod, "NodeNames": list(MACHINES)}).decode()
    console.print(_KEPT_UP.format(url=url, example=example), markup=False, highlight=False, soft_wrap=True)
    with suppress(KeyboardInterrupt):
        Event().wait()
