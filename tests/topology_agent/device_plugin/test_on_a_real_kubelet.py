"""The agent between a real kubelet and NVIDIA's own device plugin: pods get what their node was scored with."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from random import Random

import pytest

from benchmarks.binding_extender import BindingExtender
from benchmarks.enforcement import Given, bursts, create, keeps_promise, promise, recorded_bursts, stream
from gpu_topology.contract import Allocation
from gpu_topology.placement import assess, mask_of, tables_of
from gpu_topology.request import GPU_RESOURCE, request_of
from tests.control_plane.cluster import ControlPlane
from tests.fake_nvml import machine
from tests.kubelet.conftest import NodeOf
from tests.kubelet.driver import FakeDriver
from tests.kubelet.gpu_node import GpuNode
from tests.kubelet.node import KubeletNode
from tests.kubelet.numa import numa_mounts
from tests.topology_agent.device_plugin.enforced_node import enforcing, wait_until_enforced

PODS = 32
BURSTS = 6
PODS_IN_BURSTS = 100
DGX_1V = machine.load("dgx-1v")


@pytest.fixture
def gpu_node(node_of: NodeOf) -> GpuNode:
    return node_of(DGX_1V)


def kept(gpu_node: GpuNode, all_given: list[Given]) -> int:
    return sum(keeps_promise(gpu_node.topology, given) for given in all_given)


def test_every_pod_gets_a_set_worth_what_was_scored(gpu_node: GpuNode, tmp_path: Path) -> None:
    with enforcing(gpu_node, tmp_path):
        all_given = list(stream(gpu_node, PODS))
    assert kept(gpu_node, all_given) == len(all_given) == PODS


def test_without_enforcing_some_get_less(gpu_node_of: NodeOf) -> None:
    """Else the test before this one would show nothing."""
    gpu_node = gpu_node_of(DGX_1V)
    assert kept(gpu_node, list(stream(gpu_node, PODS))) < PODS


def test_a_recorded_set_is_what_the_pod_gets(gpu_node: GpuNode, tmp_path: Path) -> None:
    """Whichever it is: here any of the free ones."""
    with enforcing(gpu_node, tmp_path, trust_records=True):
        all_given = list(stream(gpu_node, PODS // 2, Random(1).sample))
    assert [given.gpus for given in all_given] == [tuple(sorted(given.recorded)) for given in all_given]


def test_a_recorded_set_is_nothing_to_an_agent_that_does_not_trust_it(gpu_node: GpuNode, tmp_path: Path) -> None:
    """The worst pair is recorded, and the best is given."""
    with enforcing(gpu_node, tmp_path):
        create(gpu_node, "sly", 2, (0, 5))
        gpu_node.wait_until_held(lambda held: "sly" in held)
        given = Given(tuple(range(8)), gpu_node.held()["sly"], (0, 5))
    assert keeps_promise(gpu_node.topology, given)
    assert not keeps_promise(gpu_node.topology, given._replace(gpus=given.recorded))


def test_in_bursts_of_equal_pods_each_gets_its_own_recorded_set(gpu_node: GpuNode, tmp_path: Path) -> None:
    """So each was told from the others: the records are all different, and the kubelet admits pods in any order."""
    random, expected, got = Random(2), dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]]()
    with enforcing(gpu_node, tmp_path, trust_records=True):
        for burst in range(BURSTS):
            order = random.sample(range(8), 8)
            pods = {f"burst-{burst}-{number}": order[2 * number : 2 * number + 2] for number in range(4)}
            with ThreadPoolExecutor() as threads:
                list(threads.map(partial(create, gpu_node), pods, repeat(2), pods.values()))
            gpu_node.wait_until_held(lambda held: len(held) == len(pods))  # noqa: B023  called at once
            expected |= {name: tuple(sorted(recorded)) for name, recorded in pods.items()}
            got |= gpu_node.held()
            for name in pods:
                gpu_node.end(name, grace_seconds=0)
    assert got == expected


def test_what_the_extender_records_is_what_pods_get(gpu_node: GpuNode, tmp_path: Path) -> None:
    """Bursts of equal pods, bound through the real extender; by its own counts, too, everything came true.

    And wherever the kubelet has written a pod's GPUs into its status, they are those that the agent reports.
    """
    control_plane = gpu_node.node.control_plane
    with enforcing(gpu_node, tmp_path, trust_records=True), BindingExtender(control_plane) as extender:
        all_given = list(recorded_bursts(gpu_node, extender, PODS))
        for metric in ("gpu_scheduler_allotments_total", "gpu_scheduler_witnesses_total"):
            counted = extender.outcomes(metric)
            assert (counted["agree"] > 0, counted["differ"]) == (True, 0), metric
    assert [given.gpus for given in all_given] == [given.recorded for given in all_given]
    assert len(all_given) == PODS


def test_in_bursts_pods_without_records_get_sets_worth_what_was_scored(gpu_node: GpuNode, tmp_path: Path) -> None:
    """Of those with links 99 in 100 at least. What was scored follows from the order in which the pods were bound."""
    with enforcing(gpu_node, tmp_path):
        linked = [given for given in bursts(gpu_node, PODS_IN_BURSTS) if len(given.gpus) > 1]
    assert kept(gpu_node, linked) >= 0.99 * len(linked)


def test_in_another_order_pods_of_a_burst_would_get_less() -> None:
    """Else the test before this one would show nothing: here a pair is scored first, and four are served first."""
    topology, free = DGX_1V.topology(), (0, 1, 2, 3, 4)
    [(_, pair)] = promise(topology, free, 2).containers
    [(_, first)] = promise(topology, free, 3).containers
    left = tuple(gpu for gpu in free if gpu not in first)
    assert keeps_promise(topology, Given(free, pair))
    assert not keeps_promise(topology, Given(free, left))


def test_each_container_gets_what_assess_says_for_the_whole_pod(gpu_node: GpuNode, tmp_path: Path) -> None:
    """An init container, whose GPUs the next one takes over without being listed, and two others."""
    wanted = gpu_node.pod("many", 4)
    [main] = wanted["spec"]["containers"]
    pair = {**main, "resources": {"limits": {GPU_RESOURCE: "2"}}}
    prepare, helper = {**pair, "name": "init", "command": ["true"]}, {**pair, "name": "side"}
    wanted["spec"] |= {"initContainers": [prepare], "containers": [main, helper]}
    with enforcing(gpu_node, tmp_path):
        gpu_node.start("before", 1)
        free = gpu_node.free()
        gpu_node.node.control_plane.client.create(wanted)
        gpu_node.node.control_plane.client.wait_for("Pod", "many", lambda pod: pod["status"].get("phase") == "Running")
        listing = gpu_node.listing()
    promise = assess(tables_of(gpu_node.topology), mask_of(free), request_of(wanted), Allocation.BEST)
    got = {entry.container: gpu_node.indices_of(entry.devices) for entry in listing.containers if "many" in entry.pod}
    assert got == {name: gpus for name, gpus in promise.containers if name != "init"}


@pytest.mark.usefixtures("kubernetes_client")
def test_where_pods_are_aligned_to_numa_nodes_they_get_the_best_set_of_their_side(
    control_plane: ControlPlane, node_folder: Path, fake_nvml: Path, tmp_path: Path
) -> None:
    """The kubelet offers one side of the machine only."""
    sides = {address: gpu // 4 for gpu, address in enumerate(DGX_1V.bus_ids)}
    mounts = numa_mounts(sides, node_folder)
    aligned = KubeletNode(control_plane, "n", node_folder, topology_manager_policy="single-numa-node", mounts=mounts)
    with aligned as node, enforcing(gpu_node := GpuNode(node, FakeDriver.of(DGX_1V, fake_nvml, node_folder)), tmp_path):
        for number, size in enumerate([2, 1, 2, 1]):
            free = gpu_node.free()
            gpu_node.start(f"aligned-{number}", size)
            gpus = gpu_node.held()[f"aligned-{number}"]
            side = gpus[0] // 4
            assert {gpu // 4 for gpu in gpus} == {side}
            assert keeps_promise(gpu_node.topology, Given(tuple(gpu for gpu in free if gpu // 4 == side), gpus))


@pytest.mark.parametrize("who", ["kubelet", "plugin", "agent"])
def test_pods_keep_coming_and_are_served_as_scored_after_a_restart(gpu_node: GpuNode, tmp_path: Path, who: str) -> None:
    """Those that were there keep their GPUs, and no GPU is given twice."""
    with enforcing(gpu_node, tmp_path) as (agent, plugin):
        gpu_node.start("before", 3)
        held = gpu_node.held()
        process = {"kubelet": gpu_node.node.kubelet, "plugin": plugin, "agent": agent}[who]
        process.kill()
        process.start()
        wait_until_enforced(gpu_node)
        # A kubelet that has just started lists those that were there only after a while.
        gpu_node.wait_until_held(lambda now: "before" in now)
        free = gpu_node.free()
        gpu_node.start("after", 4)
        after = gpu_node.held()
    assert after["before"] == held["before"]
    assert set(after["after"]).isdisjoint(held["before"])
    assert keeps_promise(gpu_node.topology, Given(free, after["after"]))
