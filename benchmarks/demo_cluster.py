"""The demonstration on a real control plane: the same pods, through a real kube-apiserver and kube-scheduler.

The nodes have no kubelet: the agent's process plays them, as in the other demonstration.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import yaml
from rich.console import Console
from rich.live import Live

from benchmarks.comparison import Got, Row, summary, table, verdict
from benchmarks.demo import MACHINES, SIZES, STAYS, job_names
from gpu_topology.placement import mask_of, tables_of
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.observer import Observer, Scheduled
from tests.control_plane.stack import Stack

PATIENCE_SECONDS = 3.0
"""A pod that is not bound by then finds no room: kube-scheduler decides within milliseconds."""


def show(console: Console, *, keep: bool = False) -> dict[str, float]:
    """Run without the extender and with it, print a row a pod and the verdict; returns the figures.

    Args:
        console: where to print.
        keep: leave the control plane and the extender running until interrupted.
    """
    console.print("Starting etcd, kube-apiserver and kube-scheduler; the first time they are built from source ...")
    rows: list[Row] = []
    with TemporaryDirectory() as temporary, ExitStack() as running:
        folder = Path(temporary)
        default = _run_stock(folder)
        control_plane = running.enter_context(ControlPlane(folder / "extended"))
        stack = running.enter_context(Stack(control_plane, _fleet(folder)))
        with Live(console=console, auto_refresh=False) as live:
            for name, size, got in _stream(Observer(control_plane.client, stack)):
                rows.append(Row(name, size, got, default[name]))
                live.update(table(rows), refresh=True)
        figures = summary(rows)
        console.print(verdict(figures))
        if keep:
            _stay_up(console, control_plane, stack)
    return figures


_KEPT_UP = """
The cluster stays up (Ctrl-C ends it):

  kubectl --kubeconfig {kubeconfig} get pods -o wide
  kubectl --kubeconfig {kubeconfig} get node hgx-h100 -o yaml
  curl -s {url}/metrics
"""


def _run_stock(folder: Path) -> dict[str, Got | None]:
    with (
        ControlPlane(folder / "stock") as control_plane,
        Stack(control_plane, _fleet(folder), with_extender=False) as stack,
    ):
        return {name: got for name, _, got in _stream(Observer(control_plane.client, stack))}


def _fleet(folder: Path) -> Path:
    path = folder / "fleet.yaml"
    nodes = [{"name": node, "machine": machine} for node, machine in MACHINES.items()]
    path.write_text(yaml.safe_dump({"nodes": nodes}), encoding="utf-8")
    return path


def _stream(cluster: Observer) -> Iterator[tuple[str, int, Got | None]]:
    """Pods arrive one by one; each stays for `STAYS` arrivals."""
    tables = {name: tables_of(topology) for name, topology in cluster.topologies().items()}
    running: list[Scheduled | None] = []
    for name, size in zip(job_names(), SIZES, strict=True):
        if len(running) == STAYS and (ended := running.pop(0)):
            cluster.end(ended)
        scheduled = _schedule(cluster, name, size)
        running.append(scheduled)
        if scheduled is None:
            yield name, size, None
            continue
        mask = mask_of(scheduled.gpus)
        bandwidth = tables[scheduled.node].worth(mask).bandwidth_gbps if size > 1 else 0.0
        yield name, size, Got(scheduled.node, scheduled.gpus, bandwidth)


def _schedule(cluster: Observer, name: str, size: int) -> Scheduled | None:
    try:
        return cluster.schedule(name, size, PATIENCE_SECONDS)
    except TimeoutError:
        cluster.withdraw(name)
        return None


def _stay_up(console: Console, control_plane: ControlPlane, stack: Stack) -> None:
    text = _KEPT_UP.format(kubeconfig=control_plane.kubeconfig(), url=stack.probes_url)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    with suppress(KeyboardInterrupt):
        Event().wait()
