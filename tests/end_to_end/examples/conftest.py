from collections.abc import Iterator

import pytest
import yaml

from gpu_topology.contract import Allocation
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.stack import Stack
from tests.end_to_end.examples.cluster import CONTROLLERS, MACHINES, NAMESPACE, ExampleCluster
from tests.end_to_end.examples.shell import Shell

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}


@pytest.fixture(scope="package")
def example_cluster(
    control_plane: ControlPlane,
    controller_manager_program: None,  # noqa: ARG001 - for its skip
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ExampleCluster]:
    """One cluster for all tests of the examples; use `cluster` for a clean start."""
    client, folder = control_plane.client, tmp_path_factory.mktemp("examples")
    machines = folder / "fleet.yaml"
    machines.write_text(yaml.safe_dump({"nodes": [{"name": name, "machine": name} for name in MACHINES]}))
    namespace = {"name": NAMESPACE, "labels": RESTRICTED}
    client.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": namespace}])
    with (
        control_plane.start_controller_manager(CONTROLLERS),
        Stack(control_plane, machines, allocation=Allocation.BEST) as stack,
    ):
        for name, product in MACHINES.items():
            client.patch("Node", name, {"metadata": {"labels": {"nvidia.com/gpu.product": product}}})
        shell = Shell(folder / "shell", control_plane.kubeconfig(), NAMESPACE, stack.extender_url)
        yield ExampleCluster(client, stack, shell)
    client.delete_all("Node")


@pytest.fixture
def cluster(example_cluster: ExampleCluster) -> Iterator[ExampleCluster]:
    """The cluster without a pod, and with the nodes in `MACHINES` only; what the test leaves is deleted after it."""
    yield example_cluster
    example_cluster.clear()
