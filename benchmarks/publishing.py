"""How soon a node's annotations tell that a pod has GPUs, and that it has them no more.

One node with a real kubelet, NVIDIA's own device plugin, and the agent with its default settings. Pods of one GPU are
bound to it and deleted, one after the other, at moments that have nothing to do with the agent's own rhythm. A time
runs from the answer of the API server to the moment at which a watch of the Node shows the state that tells of it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

from rich.table import Table

from gpu_topology.contract import NodeState
from tests.control_plane.client import Object
from tests.control_plane.cluster import ControlPlane
from tests.fake_nvml import library, machine
from tests.kubelet.agent import published_state, topology_agent
from tests.kubelet.device_plugin import nvidia_device_plugin
from tests.kubelet.driver import FakeDriver
from tests.kubelet.gpu_node import GpuNode
from tests.kubelet.node import KubeletNode

PODS: Final = 40
SEED: Final = 1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""Before each change: as long as the agent's own pause between two looks at the kubelet."""
GRACE_SECONDS: Final = {"forced deletion to free": 0, "graceful deletion to free": 5}
"""What a container that does not end by itself is given."""

Figures: TypeAlias = dict[str, dict[str, float]]


def measure(pods: int = PODS) -> Figures:
    """By what is timed: `pods`, and the `median` and the `p90` in milliseconds."""
    with TemporaryDirectory() as name, ControlPlane(Path(name) / "c") as control_plane:
        folder = Path(name) / "n"
        with KubeletNode(control_plane, "n", folder) as node:
            gpu_node = GpuNode(node, FakeDriver.of(machine.load("dgx-1v"), library.build(Path(name)), folder))
            empty_sysfs = Path(name) / "sys"
            empty_sysfs.mkdir()
            agent = topology_agent(gpu_node, empty_sysfs, poll_seconds=None)
            with nvidia_device_plugin(gpu_node.node, gpu_node.driver), agent:
                return _figures(gpu_node, pods)


def table(figures: Figures) -> Table:
    """The figures for a person."""
    result = Table("from ... to its publication", "pods", "median ms", "90 % ms", title="How soon the agent publishes")
    for what, row in figures.items():
        result.add_row(what, *(f"{value:g}" for value in row.values()))
    return result


def _figures(gpu_node: GpuNode, pods: int) -> Figures:
    random = Random(SEED)
    times: dict[str, list[float]] = {"binding to held": [], **{what: [] for what in GRACE_SECONDS}}
    client = gpu_node.node.control_plane.client
    for number in range(pods):
        what, grace_seconds = list(GRACE_SECONDS.items())[number % len(GRACE_SECONDS)]
        name = f"pod-{number}"
        time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))
        client.create(gpu_node.pod(name, 1))
        times["binding to held"].append(_seconds_until(gpu_node, lambda state: len(state.held) == 1))
        time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))
        client.delete("Pod", name, grace_seconds=grace_seconds)
        times[what].append(_seconds_until(gpu_node, lambda state: len(state.free or ()) == len(gpu_node.topology)))
    return {what: _summary(seconds) for what, seconds in times.items()}


def _seconds_until(gpu_node: GpuNode, predicate: Callable[[NodeState], bool]) -> float:
    started = time.monotonic()

    def published(node: Object) -> bool:
        state = published_state(node)
        return state is not None and predicate(state)

    gpu_node.node.control_plane.client.wait_for("Node", gpu_node.node.name, published, seconds=60)
    return time.monotonic() - started


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    p90 = quantiles(seconds, n=10)[-1]
    return {"pods": len(seconds), "median": round(1000 * median(seconds)), "p90": round(1000 * p90)}
