"""Pods land on the nodes whose free GPUs are linked best for them: real control plane, real machines' links."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from gpu_topology.contract import Allocation
from gpu_topology.placement import mask_of, tables_of
from gpu_topology.placement.vendor import predict, vendor_scores
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.observer import Observer, Scheduled
from tests.control_plane.stack import Stack
from tests.end_to_end.brute_force import BruteForce, ring_bandwidth
from tests.end_to_end.stream import SIZES, run_stream
from tests.shared_data import shared

DUMPS = {
    "dgx-1v": ("001-dgx1v-4nic.txt", "Tesla V100-SXM2-32GB"),
    "dgx-a100": ("017-dgx-a100-80g-12nic.txt", "NVIDIA A100-SXM4-80GB"),
    "hgx-h100": ("043-hgx-h100-9nic.txt", "NVIDIA H100 80GB HBM3"),
    "failing-h100": ("041-h100x4-asymmetric.txt", "NVIDIA H100 80GB HBM3"),
    "polaris": ("028-polaris-a100x4-nv4.txt", "NVIDIA A100-SXM4-40GB"),
    "bridged-a6000": ("082-a6000-8-nv4pairs-sys.txt", "NVIDIA RTX A6000"),
    "degraded-a800": ("037-a800pcie-8-degraded-bridges.txt", "NVIDIA A800 80GB PCIe"),
    "l40-switches": ("076-l40-8-pix-pxb-sys.txt", "NVIDIA L40"),
    "rtx3090-one-pair": ("103-rtx3090-4-one-nv4-pair.txt", "NVIDIA GeForce RTX 3090"),
    "gb200": ("067-gb200-4-nvl.txt", "NVIDIA GB200"),
    "ac922": ("016-power9-ac922-6mlx.txt", "Tesla V100-SXM2-16GB"),
}
"""Node to the output of `nvidia-smi topo -m` on the machine that it stands for, and the GPU model there."""
PROFILES = ("dgx-1v", "dgx-a100", "hgx-h100", "bridged-pairs-8", "pcie-8", "p4-nvlink-4", "ac922", "pcie-4-node-sys")


@pytest.fixture
def dumped_machines(tmp_path: Path) -> Path:
    """A fleet of the machines in `DUMPS`."""
    folder = shared("topologies/dumps")
    nodes = [{"name": name, "dump": str(folder / file), "product": product} for name, (file, product) in DUMPS.items()]
    return fleet(tmp_path, nodes)


@pytest.fixture
def profiled_machines(tmp_path: Path) -> Path:
    """A fleet of machine profiles, which know the PCIe ancestors of linked pairs too."""
    return fleet(tmp_path, [{"name": f"{machine}-node", "machine": machine} for machine in PROFILES])


def fleet(folder: Path, nodes: list[dict[str, str]]) -> Path:
    """A file that the agent plays."""
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump({"nodes": nodes}))
    return path


@contextmanager
def stack_of(
    control_plane: ControlPlane, machines: Path, allocation: Allocation, *, with_extender: bool = True
) -> Iterator[Observer]:
    """The whole path, and a view of it."""
    with Stack(control_plane, machines, allocation=allocation, with_extender=with_extender) as stack:
        yield Observer(control_plane.client, stack)


def test_every_pod_lands_on_a_node_with_the_best_set_there_is(
    control_plane: ControlPlane, kubernetes_client: Client, dumped_machines: Path
) -> None:
    """Compared with all sets of all nodes; the same pods without the extender land on worse nodes."""
    with stack_of(control_plane, dumped_machines, Allocation.BEST) as cluster:
        brute_force = BruteForce(cluster.topologies())
        topologies = cluster.topologies()
        scheduled = list(run_stream(cluster, seed=1))
    assert len(scheduled) == len(SIZES) >= 30
    for pod in scheduled:
        assert pod.node in brute_force.best_nodes(pod.free, pod.size), pod
        # The node enforces the choice here, so the pod also got that set.
        got = ring_bandwidth(topologies[pod.node], pod.gpus)
        assert got == pytest.approx(brute_force.best_set(pod.node, pod.free[pod.node], pod.size)), pod

    kubernetes_client.delete_all("Pod")
    kubernetes_client.delete_all("Node")
    with stack_of(control_plane, dumped_machines, Allocation.BEST, with_extender=False) as cluster:
        without = list(run_stream(cluster, seed=1))
    assert best_placed(without, brute_force) < len(without)


def best_placed(scheduled: list[Scheduled], brute_force: BruteForce) -> int:
    """How many pods are on a node that was among the best for them."""
    return sum(pod.node in brute_force.best_nodes(pod.free, pod.size) for pod in scheduled)


@pytest.mark.usefixtures("kubernetes_client")
def test_where_the_vendor_chooses_no_pod_gets_less_than_the_best_promise(
    control_plane: ControlPlane, profiled_machines: Path
) -> None:
    """Nodes are compared by the worst set that the vendor's plugin may pick there, and the best of these is kept."""
    with stack_of(control_plane, profiled_machines, Allocation.VENDOR) as cluster:
        topologies = cluster.topologies()
        scheduled = list(run_stream(cluster, seed=2))
    scores = {name: vendor_scores(topology) for name, topology in topologies.items()}
    tables = {name: tables_of(topology) for name, topology in topologies.items()}

    def promise(node: str, free: tuple[int, ...], size: int) -> float:
        outcomes = predict(scores[node], mask_of(free), size).outcomes if len(free) >= size else ()
        return min((tables[node].worth(gpus).bandwidth_gbps for gpus in outcomes), default=-1.0)

    for pod in scheduled:
        best = max(promise(node, free, pod.size) for node, free in pod.free.items())
        assert promise(pod.node, pod.free[pod.node], pod.size) == pytest.approx(best), pod
        if pod.size > 1:
            assert tables[pod.node].worth(mask_of(pod.gpus)).bandwidth_gbps >= best - 1e-9, pod
