"""What the sets that pods get on a real kubelet are worth: chosen by NVIDIA's device plugin alone, and enforced.

One node at a time, with a real kubelet, NVIDIA's own device plugin and a driver that plays a machine. Pods of 1 to 8
GPUs come one by one, and others leave, in random order, whenever the next one needs room. The stream is the same each
time:

- the plugin chooses by itself: is each choice one that was predicted?
- the agent enforces: is each set worth what the node was scored with?
- the agent enforces a set that is recorded on the pod, any of the free ones: is it exactly that?
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

from rich.table import Table

from gpu_topology.contract import ASSIGNED_ANNOTATION, Allocation, Assignment, encode_assignment
from gpu_topology.placement import SetWorth, assess, mask_of, tables_of
from gpu_topology.placement.vendor import predict, vendor_scores
from gpu_topology.request import ContainerRequest, GpuRequest
from gpu_topology.topology import NodeTopology
from tests.control_plane.cluster import ControlPlane
from tests.fake_nvml import library, machine
from tests.fake_nvml.machine import Machine
from tests.kubelet.device_plugin import nvidia_device_plugin
from tests.kubelet.driver import FakeDriver, machine_of
from tests.kubelet.gpu_node import GpuNode
from tests.kubelet.node import KubeletNode
from tests.topology_agent.device_plugin.enforced_node import enforcing
from topology_agent.profiles import load_machine

PODS = 200
SIZES = range(1, 9)
SEED = 1

Figures: TypeAlias = dict[str, float]
Recorder: TypeAlias = Callable[[Sequence[int], int], Sequence[int]]
"""Which of some free GPUs are recorded for a pod that asks for so many; none, for no record."""


class Given(NamedTuple):
    """The GPUs that a pod was given, and all that were free when it came."""

    free: tuple[int, ...]
    gpus: tuple[int, ...]
    recorded: tuple[int, ...] = ()


def machines() -> list[Machine]:
    """The machines that are played."""
    return [machine.load("dgx-1v"), machine_of(load_machine("bridged-pairs-8"), "bridged-pairs-8")]


def measure(pods: int = PODS) -> dict[str, Figures]:
    """For each machine the outcome of a stream of so many pods.

    Returns:
        By machine: `pods`; how many of them got exactly the recorded set (`as_recorded`), a set worth at least what was
        scored (`worth_as_scored`), and, of the plugin alone, one outside of what was predicted (`outside_prediction`);
        and the mean bandwidth in GB/s of the sets of two GPUs and more, enforced and chosen by the plugin.
    """
    figures = {}
    with TemporaryDirectory() as name, ControlPlane(Path(name) / "c") as control_plane:
        nvml = library.build(Path(name))
        for number, played in enumerate(machines()):
            folder = Path(name) / f"n{number}"
            with KubeletNode(control_plane, f"n{number}", folder) as node:
                gpu_node = GpuNode(node, FakeDriver.of(played, nvml, folder))
                figures[played.name] = _figures(gpu_node, Path(name) / "sys", pods)
    return figures


def table(figures: dict[str, Figures]) -> Table:
    """The figures for a person."""
    result = Table(
        "machine",
        "pods",
        "as recorded",
        "worth as scored",
        "outside prediction",
        "GB/s enforced",
        "GB/s by the plugin",
        title="Sets that pods get on a real kubelet",
    )
    for name, row in figures.items():
        result.add_row(name, *(f"{value:g}" for value in row.values()))
    return result


def stream(gpu_node: GpuNode, pods: int, recorder: Recorder = lambda _free, _size: ()) -> Iterator[Given]:
    """Pods of all sizes come one by one; in the end all are gone.

    Args:
        gpu_node: a node whose GPUs are offered.
        pods: how many.
        recorder: what is recorded for each.
    """
    random = Random(SEED)
    running: list[str] = []
    for number in range(pods):
        size = random.choice(SIZES)
        while len(free := gpu_node.free()) < size:
            gpu_node.end(running.pop(random.randrange(len(running))), grace_seconds=0)
        name = f"{gpu_node.node.name}-{number}"
        recorded = tuple(recorder(free, size))
        create(gpu_node, name, size, recorded)
        gpu_node.wait_until_held(lambda held: len(held.get(name, ())) == size)  # noqa: B023  called at once
        running.append(name)
        yield Given(free, gpu_node.held()[name], recorded)
    for name in running:
        gpu_node.end(name, grace_seconds=0)


def create(gpu_node: GpuNode, name: str, size: int, recorded: Sequence[int] = ()) -> None:
    """Create a pod and bind it to a node, with the GPUs that are recorded for it, if any, in the same write."""
    client = gpu_node.node.control_plane.client
    wanted = gpu_node.pod(name, size)
    node = wanted["spec"].pop("nodeName")
    uid = client.create(wanted)["metadata"]["uid"]
    uuids = tuple(gpu_node.driver.machine.uuids[gpu] for gpu in recorded)
    record = encode_assignment(Assignment(uid, node, (("main", uuids),), bandwidth_gbps=None, enforced=True))
    client.create(
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "annotations": {ASSIGNED_ANNOTATION: record} if uuids else {}},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
    )


def promised(topology: NodeTopology, given: Given) -> SetWorth | None:
    """What the node would have been scored with for a pod."""
    request = GpuRequest((ContainerRequest("main", len(given.gpus)),))
    return assess(tables_of(topology), mask_of(given.free), request, Allocation.BEST).worth


def worth(topology: NodeTopology, given: Given) -> SetWorth:
    """What a pod was given is worth."""
    return tables_of(topology).worth(mask_of(given.gpus))


def keeps_promise(topology: NodeTopology, given: Given) -> bool:
    """Whether a pod has got at least what was scored."""
    scored = promised(topology, given)
    return scored is not None and worth(topology, given) >= scored


def _figures(gpu_node: GpuNode, empty_sysfs: Path, pods: int) -> Figures:
    topology, scores = gpu_node.topology, vendor_scores(gpu_node.topology)
    empty_sysfs.mkdir(exist_ok=True)
    random = Random(SEED)
    alone = _streamed(nvidia_device_plugin(gpu_node.node, gpu_node.driver), gpu_node, pods)
    enforced = _streamed(enforcing(gpu_node, empty_sysfs), gpu_node, pods)
    recorded = _streamed(enforcing(gpu_node, empty_sysfs, trust_records=True), gpu_node, pods, random.sample)
    return {
        "pods": pods,
        "as_recorded": sum(given.gpus == tuple(sorted(given.recorded)) for given in recorded),
        "worth_as_scored": sum(keeps_promise(topology, given) for given in enforced),
        "outside_prediction": sum(
            mask_of(given.gpus) not in predict(scores, mask_of(given.free), len(given.gpus)).outcomes for given in alone
        ),
        "mean_gbps_enforced": _mean_gbps(topology, enforced),
        "mean_gbps_vendor": _mean_gbps(topology, alone),
    }


def _streamed(
    choosing: AbstractContextManager[Any], gpu_node: GpuNode, pods: int, recorder: Recorder = lambda _free, _size: ()
) -> list[Given]:
    with ExitStack() as running:
        running.enter_context(choosing)
        return list(stream(gpu_node, pods, recorder))


def _mean_gbps(topology: NodeTopology, all_given: Sequence[Given]) -> float:
    bandwidths = [worth(topology, given).bandwidth_gbps for given in all_given if len(given.gpus) > 1]
    return round(sum(bandwidths) / len(bandwidths), 2)
