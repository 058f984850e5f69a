"""Every example is applied as its reader would, and comes to run where its wishes are kept."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpu_topology.request import Require, request_of
from gpu_topology.slices import SlicePool
from gpu_topology.topology import NodeTopology
from tests.control_plane.client import Object, Objects
from tests.end_to_end.brute_force import BruteForce, ring_bandwidth
from tests.end_to_end.examples.cluster import NAMESPACE, ExampleCluster, until
from tests.end_to_end.examples.variables import command, environment
from tests.end_to_end.examples.volumes import disk_of
from tests.end_to_end.test_preemption import condition, has_been_refused
from tests.manifests.files import REPOSITORY
from topology_agent.occupancy import Occupancy
from topology_agent.profiles import load_machine

EXAMPLES = {path.stem: path for path in sorted((REPOSITORY / "manifests" / "examples").glob("*.yaml"))}
SLICE = "nvidia.com/mig-1g.10gb"
NEED_MORE = {"mig-slice", "training-data"}
"""They need a node, or a volume, that the cluster of these tests does not have from the start."""
NUMBER_OF_PODS = {"Pod": "", "Deployment": "replicas", "Job": "parallelism"}
"""The field of each kind's specification that says it; a Pod is one."""
JOBS = ("indexed-job", "pytorch-job", "tensorflow-job")


def documents(example: Path) -> list[dict[str, Any]]:
    """The objects of an example."""
    return list(yaml.safe_load_all(example.read_text()))


def pods_of(example: Path) -> int:
    """How many pods an example comes to, all at the same time."""
    [workload] = [obj for obj in documents(example) if obj["kind"] in NUMBER_OF_PODS]
    return int(workload["spec"].get(NUMBER_OF_PODS[workload["kind"]], 1))


def keeps(require: Require, topology: NodeTopology, gpus: tuple[int, ...]) -> bool:
    """Whether every two of these GPUs have NVLink in common, where that is required."""
    assert require in {Require.ANY, Require.NVLINK}, "the examples require nothing else"
    return require is Require.ANY or all(topology.nvlinks[a][b] for a, b in combinations(gpus, 2))


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - NEED_MORE))
def test_its_pods_get_what_they_ask_for_and_the_best_set_of_the_cluster(cluster: ExampleCluster, name: str) -> None:
    """The cluster is empty before, and has room for all of them on its best machine."""
    topologies = cluster.observer.topologies()
    free = {node: tuple(range(len(topology))) for node, topology in topologies.items()}
    brute_force = BruteForce(topologies)
    cluster.apply(EXAMPLES[name])
    pods = cluster.wait_for_bound(pods_of(EXAMPLES[name]))
    cluster.observer.wait_for_all_holders(pods)
    for pod in pods:
        request, node, holders = request_of(pod), pod["spec"]["nodeName"], cluster.holders(pod)
        assert {holder.container: len(holder.gpus) for holder in holders} == {
            container.name: container.gpus for container in request.containers
        }
        for holder in holders:
            got, size = ring_bandwidth(topologies[node], holder.gpus), len(holder.gpus)
            assert node in brute_force.best_nodes(free, size)
            assert got == pytest.approx(brute_force.best_set(node, free[node], size))
            assert got >= request.wishes.min_bandwidth_gbps
            assert keeps(request.wishes.require, topologies[node], holder.gpus)


def test_a_pod_that_requires_nvlink_waits_until_a_machine_has_it(cluster: ExampleCluster) -> None:
    """At first only the machine without NVLink takes pods, then another one too."""
    with cluster.cordoned("dgx-1v", "bridged-pairs-8"):
        with cluster.cordoned("hgx-h100"):
            cluster.apply(EXAMPLES["nvlink-pair"])
            refused = cluster.client.wait_for("Pod", "nvlink-pair", has_been_refused, NAMESPACE)
            assert "1 no 2 free GPUs are all linked by NVLink" in condition(refused)["message"]
        [pod] = cluster.wait_for_bound(1)
    assert pod["spec"]["nodeName"] == "hgx-h100"


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_complete_when_its_pods_have_succeeded(cluster: ExampleCluster, name: str) -> None:
    """One pod for each index; the controller counts those that succeed, and all GPUs are free again."""
    cluster.apply(EXAMPLES[name])
    pods = cluster.wait_for_bound(pods_of(EXAMPLES[name]))
    indices = sorted(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for pod in pods)
    assert indices == [str(index) for index in range(len(pods))]
    for pod in pods:
        cluster.say(pod, phase="Succeeded")
    [job] = cluster.client.list("Job", NAMESPACE, api_version="batch/v1")
    complete = cluster.client.wait_for("Job", job["metadata"]["name"], is_complete, NAMESPACE, api_version="batch/v1")
    assert complete["status"]["succeeded"] == len(pods)
    until(cluster.observer.states, lambda states: not any(state.held for state in states.values()))


def is_complete(job: Object) -> bool:
    """Whether the controller says so of a Job."""
    conditions = job.get("status", {}).get("conditions", [])
    return any(each["type"] == "Complete" and each["status"] == "True" for each in conditions)


def run(cluster: ExampleCluster, pods: Objects) -> None:
    """Let pods run, with an address each."""
    for number, pod in enumerate(pods, start=1):
        address = f"10.1.0.{number}"
        cluster.say(pod, phase="Running", podIP=address, podIPs=[{"ip": address}])


def host_names(cluster: ExampleCluster, service: str, number: int) -> set[str]:
    """The names below a headless Service by which its pods are reached, once there are so many."""

    def named() -> set[str]:
        slices = cluster.client.list(
            "EndpointSlice",
            NAMESPACE,
            api_version="discovery.k8s.io/v1",
            label_selector=f"kubernetes.io/service-name={service}",
        )
        endpoints = [endpoint for found in slices for endpoint in found.get("endpoints") or []]
        return {f"{endpoint['hostname']}.{service}" for endpoint in endpoints if endpoint.get("hostname")}

    return until(named, lambda names: len(names) == number)


def test_the_processes_of_pytorch_find_their_master(cluster: ExampleCluster) -> None:
    """By the name that the Service gives the pod with index 0, and every pod has a rank of its own."""
    cluster.apply(EXAMPLES["pytorch-job"])
    pods = cluster.wait_for_bound(2)
    run(cluster, pods)
    names = host_names(cluster, "pytorch-job", 2)
    ranks = set()
    for pod in pods:
        options = dict(argument[2:].split("=") for argument in command(pod) if argument.startswith("--"))
        assert options["master-addr"] in names
        assert int(options["nnodes"]) == len(pods)
        assert int(options["nproc-per-node"]) == request_of(pod).total
        ranks.add(int(options["node-rank"]))
        if options["node-rank"] == "0":
            assert f"{pod['spec']['hostname']}.{pod['spec']['subdomain']}" == options["master-addr"]
    assert ranks == {0, 1}


def test_every_worker_of_tensorflow_knows_the_others_and_itself(cluster: ExampleCluster) -> None:
    """TF_CONFIG names the addresses that the Service gives the pods, and the place of the pod among them."""
    cluster.apply(EXAMPLES["tensorflow-job"])
    pods = cluster.wait_for_bound(2)
    run(cluster, pods)
    names = host_names(cluster, "tensorflow-job", 2)
    for pod in pods:
        config = json.loads(environment(pod)["TF_CONFIG"])
        workers = config["cluster"]["worker"]
        assert {worker.removesuffix(":2222") for worker in workers} == names
        own_name = f"{pod['spec']['hostname']}.{pod['spec']['subdomain']}"
        assert workers[config["task"]["index"]] == f"{own_name}:2222"
        assert config["task"]["type"] == "worker"


@pytest.mark.parametrize("name", ["pytorch-job", "tensorflow-job"])
def test_the_script_of_a_distributed_job_is_valid_python(name: str) -> None:
    [script] = [obj["data"]["train.py"] for obj in documents(EXAMPLES[name]) if obj["kind"] == "ConfigMap"]
    compile(script, "train.py", "exec")


def test_a_pod_that_asks_for_a_slice_goes_where_a_gpu_is_cut(cluster: ExampleCluster) -> None:
    """And the extender's books hold one slice of it less for others."""
    pools = tuple(SlicePool(SLICE, gpu, total=7, free=7) for gpu in range(8))
    cluster.add_node("cut", load_machine("dgx-a100"), Occupancy(free=(), slices=pools), {SLICE: 7 * 8})
    cluster.apply(EXAMPLES["mig-slice"])
    [pod] = cluster.wait_for_bound(1)
    assert pod["spec"]["nodeName"] == "cut"
    page = until(lambda: cluster.books("cut"), lambda page: bool(page["expected_slices"]))
    assert page["expected_slices"] == {f"{NAMESPACE}/mig-slice": {SLICE: 1}}


@pytest.mark.parametrize("nodes", [["pcie-8"], ["pcie-8", "dgx-1v"]], ids=" ".join)
def test_a_pod_with_a_volume_goes_to_the_best_gpus_where_a_volume_is(cluster: ExampleCluster, nodes: list[str]) -> None:
    """None of the volumes is where the best GPUs are. Chosen without the pod, the claim would get the smallest one."""
    for size, node in enumerate(nodes, start=100):
        cluster.client.create(disk_of(node, f"{size}Gi"))
    cluster.apply(EXAMPLES["training-data"])
    [pod] = cluster.wait_for_bound(1)
    cluster.observer.wait_for_all_holders([pod])
    topologies = cluster.observer.topologies()
    every_gpu = {node: tuple(range(len(topologies[node]))) for node in nodes}
    node, brute_force = pod["spec"]["nodeName"], BruteForce(topologies)
    assert {node} == brute_force.best_nodes(every_gpu, 2)
    claim = cluster.client.get("PersistentVolumeClaim", "training-data", NAMESPACE)
    assert claim["spec"]["volumeName"] == f"disk-of-{node}"
    [holder] = cluster.holders(pod)
    assert ring_bandwidth(topologies[node], holder.gpus) == brute_force.best_set(node, every_gpu[node], 2)
