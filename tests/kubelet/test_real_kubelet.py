"""A real kubelet with NVIDIA's own device plugin: what it tells of its pods, and which GPUs they are given."""

from collections.abc import Callable, Iterator
from math import comb
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from gpu_topology.placement import mask_of
from gpu_topology.placement.vendor import predict, vendor_scores
from tests.control_plane.client import Client, Object
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import GPU_RESOURCE
from tests.fake_nvml.machine import Machine, load
from tests.kubelet.conftest import NodeOf
from tests.kubelet.device_plugin import nvidia_device_plugin
from tests.kubelet.driver import FakeDriver, machine_of
from tests.kubelet.gpu_node import GpuNode
from tests.kubelet.node import KubeletNode
from tests.kubelet.numa import numa_mounts
from topology_agent.profiles import load_machine

PODS = 40
DGX_1V = load("dgx-1v")
BRIDGED_PAIRS = machine_of(load_machine("bridged-pairs-8"), "bridged-pairs-8")


class Pick(NamedTuple):
    """The GPUs that a pod was given, and all that were free when it came."""

    free: tuple[int, ...]
    gpus: tuple[int, ...]


@pytest.fixture
def ending(tmp_path: Path) -> Path:
    """A file that does not exist; with it, pods with the command of `until` end."""
    return tmp_path / "ending"


def test_the_kubelet_the_pods_status_and_its_environment_name_the_same_gpus(
    gpu_node_of: NodeOf, kubernetes_client: Client, ending: Path
) -> None:
    gpu_node = gpu_node_of(DGX_1V)
    pods = {name: gpu_node.start(name, gpus, until(ending)) for name, gpus in (("pair", 2), ("single", 1), ("four", 4))}
    held = gpu_node.held()
    assert sorted(map(len, held.values())) == [1, 2, 4]
    assert len(gpu_node.free()) == 1
    for name in pods:
        running = kubernetes_client.wait_for("Pod", name, is_in("Running"))
        assert gpu_node.indices_of(gpus_of_the_status(running)) == held[name]
    ending.touch()
    for name, pod in pods.items():
        kubernetes_client.wait_for("Pod", name, is_in("Succeeded"))
        assert gpu_node.indices_of(gpu_node.node.pod_log(pod).strip().split(",")) == held[name]


def test_the_gpus_of_a_pod_that_has_ended_are_free_again(
    gpu_node_of: NodeOf, kubernetes_client: Client, ending: Path
) -> None:
    gpu_node = gpu_node_of(DGX_1V)
    gpu_node.start("ends-by-itself", 4, until(ending))
    gpu_node.start("is-deleted", 3)
    gpu_node.end("is-deleted")
    assert gpu_node.held().keys() == {"ends-by-itself"}
    ending.touch()
    gpu_node.wait_until_held(lambda held: not held)
    gpu_node.start("next", 8)
    assert gpu_node.free() == ()
    kubernetes_client.wait_for("Pod", "next", is_in("Running"))


def test_pods_and_their_gpus_outlive_a_restart_of_the_kubelet(gpu_node_of: NodeOf, kubernetes_client: Client) -> None:
    gpu_node = gpu_node_of(DGX_1V)
    gpu_node.start("before", 2)
    kubernetes_client.wait_for("Pod", "before", is_in("Running"))
    held = gpu_node.held()
    gpu_node.node.kubelet.kill()
    gpu_node.node.kubelet.start()
    gpu_node.wait_until_offered(len(DGX_1V.uuids))
    gpu_node.wait_until_held(lambda now: now == held)
    gpu_node.start("after", 6)
    assert gpu_node.free() == ()
    [container] = kubernetes_client.get("Pod", "before")["status"]["containerStatuses"]
    assert container["restartCount"] == 0


def test_a_gpu_with_a_fatal_error_is_offered_no_more(gpu_node_of: NodeOf) -> None:
    gpu_node = gpu_node_of(DGX_1V)
    gpu_node.driver.report_xid(gpu=5)
    offered = gpu_node.wait_until_offered(7)
    assert 5 not in gpu_node.indices_of(offered)


@pytest.mark.parametrize("machine", [DGX_1V, BRIDGED_PAIRS], ids=lambda machine: machine.name)
def test_the_plugin_never_picks_what_was_not_predicted(gpu_node_of: NodeOf, machine: Machine) -> None:
    gpu_node = gpu_node_of(machine)
    scores = vendor_scores(gpu_node.topology)
    picks = list(picks_of_a_stream(gpu_node, Random(1)))
    predictions = [predict(scores, mask_of(pick.free), len(pick.gpus)) for pick in picks]
    assert all(prediction.predictable for prediction in predictions)
    surprises = [
        pick
        for pick, prediction in zip(picks, predictions, strict=True)
        if mask_of(pick.gpus) not in prediction.outcomes
    ]
    assert len(picks) == PODS
    assert surprises == []
    ruled_out = [
        len(prediction.outcomes) < comb(len(pick.free), len(pick.gpus))
        for pick, prediction in zip(picks, predictions, strict=True)
    ]
    assert sum(ruled_out) >= PODS / 4, "most predictions rule nothing out, so this shows little"


def test_numa_alignment_keeps_a_pod_on_one_side_or_refuses_it(
    control_plane: ControlPlane, kubernetes_client: Client, fake_nvml: Path, node_folder: Path
) -> None:
    sides = {address: gpu // 4 for gpu, address in enumerate(DGX_1V.bus_ids)}
    mounts = numa_mounts(sides, node_folder)
    driver = FakeDriver.of(DGX_1V, fake_nvml, node_folder)
    aligned = KubeletNode(
        control_plane, "aligned", node_folder, topology_manager_policy="single-numa-node", mounts=mounts
    )
    with aligned as node, nvidia_device_plugin(node, driver):
        gpu_node = GpuNode(node, driver)
        kubernetes_client.create(gpu_node.pod("five", 5))
        refused = kubernetes_client.wait_for("Pod", "five", is_in("Failed"))
        assert refused["status"]["reason"] == "TopologyAffinityError"
        gpu_node.start("three", 3)
        gpu_node.start("four", 4)
        assert {len({gpu // 4 for gpu in gpus}) for gpus in gpu_node.held().values()} == {1}


def test_nothing_is_left_running_after_a_node(
    control_plane: ControlPlane, kubernetes_client: Client, fake_nvml: Path, node_folder: Path
) -> None:
    """Neither the programs nor what its containers run; and the API server has forgotten the node."""
    node = KubeletNode(control_plane, "short-lived", node_folder)
    with node:
        driver = FakeDriver.of(DGX_1V, fake_nvml, node.folder)
        with nvidia_device_plugin(node, driver) as plugin:
            GpuNode(node, driver).start("left-over", 1)
            kubernetes_client.wait_for("Pod", "left-over", is_in("Running"))
            processes = [plugin.pid, node.kubelet.pid, node.runtime.pid, *children_of(node.runtime.pid)]
            assert len(processes) == 4
            assert all(map(is_alive, processes))
    assert not any(map(is_alive, processes))
    assert kubernetes_client.list("Node") == []


def picks_of_a_stream(gpu_node: GpuNode, random: Random) -> Iterator[Pick]:
    """Pods of all sizes come in random order and are ended in random order as the next one needs room."""
    sizes = random.sample([1, 2, 3, 4, 5, 6, 7, 8], counts=[PODS // 8] * 8, k=PODS)
    running: list[str] = []
    for number, size in enumerate(sizes):
        while len(free := gpu_node.free()) < size:
            gpu_node.end(running.pop(random.randrange(len(running))), grace_seconds=0)
        name = f"pod-{number}"
        gpu_node.start(name, size)
        running.append(name)
        yield Pick(free, gpu_node.held()[name])


def until(file: Path) -> list[str]:
    """A container's command: wait for a file, then print the container's GPUs and end."""
    return ["sh", "-c", 'until [ -e "$0" ]; do sleep 0.02; done; printenv NVIDIA_VISIBLE_DEVICES', str(file)]


def is_in(phase: str) -> Callable[[Object], bool]:
    """Whether a pod is in a phase."""
    return lambda pod: pod["status"].get("phase") == phase


def gpus_of_the_status(pod: Object) -> list[str]:
    """The ids of the GPUs that a pod's own status names (since Kubernetes 1.36)."""
    return [
        gpu["resourceID"]
        for container in pod["status"]["containerStatuses"]
        for resource in container.get("allocatedResourcesStatus", ())
        if resource["name"] == GPU_RESOURCE
        for gpu in resource["resources"]
    ]


def children_of(process: int) -> list[int]:
    """The processes that a process has started."""
    return [int(pid) for task in Path(f"/proc/{process}/task").glob("*/children") for pid in task.read_text().split()]


def is_alive(process: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{process}").exists()
