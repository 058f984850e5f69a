"""What the sets that pods get on a real kubelet are worth: chosen by NVIDIA's device plugin alone, and enforced.

One node at a time, with a real kubelet, NVIDIA's own device plugin and a driver that plays a machine. Pods of 1 to 8
GPUs come one by one, and others leave, in random order, whenever the next one needs room. The stream is the same each
time:

- the plugin chooses by itself: is each choice one that was predicted?
- the agent enforces: is each set worth what the node was scored with?

And pods of 1 to 4 GPUs come in bursts:

- without records: is each set worth what the node was scored with, pod by pod in the order of binding?
- equal pods, bound by the extender at the same moment, each with a record of its own: is it exactly that?
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias

from rich.table import Table

from benchmarks.binding_extender import BindingExtender
from gpu_topology.assignment import ASSIGNED_ANNOTATION, Assignment, decode_assignment, encode_assignment
from gpu_topology.contract import Allocation
from gpu_topology.placement import Assessment, SetWorth, assess, mask_of, tables_of
from gpu_topology.placement.vendor import predict, vendor_scores
from gpu_topology.request import ContainerRequest, GpuRequest
from gpu_topology.topology import NodeTopology
from tests.control_plane.client import Object
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
LEAST_FREE = 5
"""GPUs before a burst begins: enough for pods of different sizes."""
LARGEST_IN_A_BURST = 4

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
        By machine: `pods`; of as many that the extender bound in bursts of equal pods, how many got exactly the set
        that it recorded (`as_recorded`); how many of those that came one by one got a set worth at least what was
        scored (`worth_as_scored`), and, of the plugin alone, one outside of what was predicted (`outside_prediction`);
        the mean bandwidth in GB/s of the sets of two GPUs and more, enforced, chosen by the plugin, and recorded (that
        one of other pods: to be seen beside the others, not to be compared); and of as many pods that came in bursts,
        how many got a set worth at least what was scored (`worth_as_scored_in_bursts`), and how many asked for two GPUs
        or more and so could have got less (`linked_pods_in_bursts`).
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
        "GB/s recorded",
        "worth as scored in bursts",
        "of them linked",
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


def bursts(gpu_node: GpuNode, pods: int) -> Iterator[Given]:
    """Pods of mixed sizes are bound in bursts, those of a burst at the same moment; in the end all are gone.

    The kubelet serves them in an order of its own. What a pod was scored with is what the extender's books say: they
    take the pods in the order in which they were bound, and until the agent has reported what a pod got, the set counts
    as taken that the pod would best get of what was left then. So that is what is not free for the next pod here.

    Args:
        gpu_node: a node whose GPUs are offered, and whose choice of them is enforced.
        pods: how many.

    Yields:
        For each pod, in the order of binding, what it got, and what was free by the books.
    """
    random = Random(SEED)
    running: list[str] = []
    number = 0
    while number < pods:
        random.shuffle(running)
        while running and len(gpu_node.free()) < LEAST_FREE:
            gpu_node.end(running.pop(), grace_seconds=0)
        free = gpu_node.free()
        together = islice(_split(random, len(free)), pods - number)
        sizes = {f"{gpu_node.node.name}-{number + place}": size for place, size in enumerate(together)}
        order = bind_at_once(gpu_node, sizes)
        gpu_node.wait_until_held(lambda held: held.keys() >= sizes.keys())  # noqa: B023  called at once
        held = gpu_node.held()
        for name in order:
            yield Given(free, held[name])
            [(_, booked)] = promise(gpu_node.topology, free, sizes[name]).containers
            free = tuple(gpu for gpu in free if gpu not in booked)
        running += order
        number += len(order)
    for name in running:
        gpu_node.end(name, grace_seconds=0)


def recorded_bursts(gpu_node: GpuNode, extender: BindingExtender, pods: int) -> Iterator[Given]:
    """Equal pods are bound by the extender in bursts, those of a burst at the same moment; in the end all are gone.

    Args:
        gpu_node: a node whose GPUs are offered, and which gives pods what is recorded on them.
        extender: binds the pods.
        pods: how many.

    Yields:
        For each pod what it got, and what was recorded for it.
    """
    random = Random(SEED)
    client, running = gpu_node.node.control_plane.client, list[str]()
    extender.wait_until_known(gpu_node.node.name)
    number = 0
    while number < pods:
        size = random.randint(1, LARGEST_IN_A_BURST)
        random.shuffle(running)
        while running and len(gpu_node.free()) < 2 * size:
            gpu_node.end(running.pop(), grace_seconds=0)
        together = min(len(gpu_node.free()) // size, pods - number)
        names = [f"{gpu_node.node.name}-{number + place}" for place in range(together)]
        created = [_create_unbound(gpu_node, name, size) for name in names]
        with ThreadPoolExecutor(together) as threads:
            list(threads.map(partial(extender.bind, node=gpu_node.node.name), created))
        gpu_node.wait_until_held(lambda held: held.keys() >= set(names))  # noqa: B023  called at once
        held = gpu_node.held()
        for name in names:
            annotations = client.get("Pod", name)["metadata"]["annotations"]
            [(_, uuids)] = decode_assignment(annotations[ASSIGNED_ANNOTATION]).containers
            yield Given((), held[name], gpu_node.indices_of(uuids))
        running += names
        number += together
    for name in running:
        gpu_node.end(name, grace_seconds=0)


def _split(random: Random, gpus: int) -> Iterator[int]:
    """Sizes of pods that fit together, several of them."""
    while gpus:
        size = random.randint(1, min(gpus, LARGEST_IN_A_BURST))
        yield size
        gpus -= size


def bind_at_once(gpu_node: GpuNode, sizes: Mapping[str, int]) -> list[str]:
    """Create pods and bind them at the same moment; return their names in the order in which they were bound."""
    client, node = gpu_node.node.control_plane.client, gpu_node.node.name
    created = [_create_unbound(gpu_node, name, size) for name, size in sizes.items()]
    with ThreadPoolExecutor(len(created)) as threads:
        list(threads.map(partial(_bind, gpu_node), created))
    since, selector = created[-1]["metadata"]["resourceVersion"], f"spec.nodeName={node}"
    bound: list[str] = []
    with closing(client.watch("Pod", field_selector=selector, resource_version=since)) as events:
        while len(bound) < len(sizes):
            _, pod = next(events)
            if (name := pod["metadata"]["name"]) in sizes and name not in bound:
                bound.append(name)
    return bound


def create(gpu_node: GpuNode, name: str, size: int, recorded: Sequence[int] = ()) -> None:
    """Create a pod and bind it to a node, with the GPUs that are recorded for it, if any, in the same write."""
    _bind(gpu_node, _create_unbound(gpu_node, name, size), recorded)


def _create_unbound(gpu_node: GpuNode, name: str, size: int) -> Object:
    wanted = gpu_node.pod(name, size)
    del wanted["spec"]["nodeName"]
    return gpu_node.node.control_plane.client.create(wanted)


def _bind(gpu_node: GpuNode, pod: Object, recorded: Sequence[int] = ()) -> None:
    name, uid, node = pod["metadata"]["name"], pod["metadata"]["uid"], gpu_node.node.name
    uuids = tuple(gpu_node.driver.machine.uuids[gpu] for gpu in recorded)
    record = encode_assignment(Assignment(uid, node, (("main", uuids),), bandwidth_gbps=None, enforced=True))
    gpu_node.node.control_plane.client.create(
        {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "annotations": {ASSIGNED_ANNOTATION: record} if uuids else {}},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
    )


def promise(topology: NodeTopology, free: Sequence[int], size: int) -> Assessment:
    """What the node is scored with for a pod of so many GPUs."""
    request = GpuRequest((ContainerRequest("main", size),))
    return assess(tables_of(topology), mask_of(free), request, Allocation.BEST)


def worth(topology: NodeTopology, given: Given) -> SetWorth:
    """What a pod was given is worth."""
    return tables_of(topology).worth(mask_of(given.gpus))


def keeps_promise(topology: NodeTopology, given: Given) -> bool:
    """Whether a pod has got at least what was scored."""
    scored = promise(topology, given.free, len(given.gpus)).worth
    return scored is not None and worth(topology, given) >= scored


def _figures(gpu_node: GpuNode, empty_sysfs: Path, pods: int) -> Figures:
    topology, scores = gpu_node.topology, vendor_scores(gpu_node.topology)
    empty_sysfs.mkdir(exist_ok=True)
    alone = _streamed(nvidia_device_plugin(gpu_node.node, gpu_node.driver), gpu_node, pods)
    enforced = _streamed(enforcing(gpu_node, empty_sysfs), gpu_node, pods)
    with enforcing(gpu_node, empty_sysfs):
        in_bursts = list(bursts(gpu_node, pods))
    extender = BindingExtender(gpu_node.node.control_plane)
    with enforcing(gpu_node, empty_sysfs, trust_records=True), extender:
        recorded = list(recorded_bursts(gpu_node, extender, pods))
    return {
        "pods": pods,
        "as_recorded": sum(given.gpus == given.recorded for given in recorded),
        "worth_as_scored": sum(keeps_promise(topology, given) for given in enforced),
        "outside_prediction": sum(
            mask_of(given.gpus) not in predict(scores, mask_of(given.free), len(given.gpus)).outcomes for given in alone
        ),
        "mean_gbps_enforced": _mean_gbps(topology, enforced),
        "mean_gbps_vendor": _mean_gbps(topology, alone),
        "mean_gbps_recorded": _mean_gbps(topology, recorded),
        "worth_as_scored_in_bursts": sum(keeps_promise(topology, given) for given in in_bursts),
        "linked_pods_in_bursts": sum(len(given.gpus) > 1 for given in in_bursts),
    }


def _streamed(choosing: AbstractContextManager[Any], gpu_node: GpuNode, pods: int) -> list[Given]:
    with ExitStack() as running:
        running.enter_context(choosing)
        return list(stream(gpu_node, pods))


def _mean_gbps(topology: NodeTopology, all_given: Sequence[Given]) -> float:
    bandwidths = [worth(topology, given).bandwidth_gbps for given in all_given if len(given.gpus) > 1]
    return round(sum(bandwidths) / len(bandwidths), 2)
