"""The pods of docs/cluster/models.md on a real kube-scheduler with the extender: labels decide as the page says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gpu_topology.contract import Allocation
from tests.control_plane.client import Client, Object
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, pod
from tests.control_plane.observer import Observer, Scheduled
from tests.control_plane.stack import Stack
from tests.end_to_end.test_best_node import fleet
from tests.manifests.files import REPOSITORY, fenced_blocks

PAGE = REPOSITORY / "docs" / "cluster" / "models.md"
PRODUCTS = {
    "hgx-b200": "NVIDIA-B200",
    "hgx-h100": "NVIDIA-H100-80GB-HBM3",
    "dgx-a100": "NVIDIA-A100-SXM4-80GB",
    "pcie-8": "NVIDIA-H100-80GB-HBM3",
}
"""Node, named after its machine, to its label; the first one has the fastest links."""


@pytest.fixture
def cluster(control_plane: ControlPlane, kubernetes_client: Client, tmp_path: Path) -> Iterator[Observer]:
    """The whole path, on empty nodes with the labels of GPU feature discovery."""
    machines = fleet(tmp_path, [{"name": name, "machine": name} for name in PRODUCTS])
    with Stack(control_plane, machines, allocation=Allocation.BEST) as stack:
        for name, product in PRODUCTS.items():
            kubernetes_client.patch("Node", name, {"metadata": {"labels": {"nvidia.com/gpu.product": product}}})
        yield Observer(control_plane.client, stack)


def example(name: str) -> Object:
    """A pod of the page."""
    blocks = map(yaml.safe_load, fenced_blocks(PAGE, "yaml"))
    [found] = [block for block in blocks if block.get("metadata", {}).get("name") == name]
    return dict(found)


def placed(cluster: Observer, client: Client, made: Object) -> str:
    """The node that a pod is given; it is deleted again, and the extender's books show it."""
    client.create(made)
    name = made["metadata"]["name"]
    bound = client.wait_for("Pod", name, is_bound)
    cluster.wait_for_all_holders([bound])
    node = str(bound["spec"]["nodeName"])
    cluster.end(Scheduled(name, 0, node, {}, ()))
    return node


def test_a_required_model_is_kept_and_a_preferred_one_chooses_where_links_do_not_count(
    cluster: Observer, kubernetes_client: Client
) -> None:
    """Each pod comes to the empty cluster; the same pod without affinity goes to the fastest links."""
    ordinary = pod("ordinary", gpus=4, scheduler_name="gpu-scheduler")
    assert placed(cluster, kubernetes_client, ordinary) == "hgx-b200"
    # Of the two that are labelled H100, one has no NVSwitch.
    assert placed(cluster, kubernetes_client, example("needs-h100")) == "hgx-h100"
    assert placed(cluster, kubernetes_client, example("prefers-a100")) == "dgx-a100"
    heavy = example("prefers-a100")
    heavy["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = 4
    assert placed(cluster, kubernetes_client, heavy) == "hgx-b200"
    quiet = heavy | {"metadata": {"name": "quiet", "annotations": {"gpu-scheduler/communication": "none"}}}
    assert placed(cluster, kubernetes_client, quiet) == "dgx-a100"
