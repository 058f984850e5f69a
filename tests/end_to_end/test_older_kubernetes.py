"""The whole path on the minor version of Kubernetes before the newest: API server and scheduler of that version."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_topology.contract import Allocation
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import pod
from tests.control_plane.observer import Observer
from tests.control_plane.stack import Stack
from tests.end_to_end.brute_force import BruteForce, ring_bandwidth
from tests.end_to_end.conftest import OLDER
from tests.end_to_end.test_best_node import fleet
from tests.end_to_end.test_preemption import condition, explain, has_been_refused

MACHINES = ("hgx-h100", "dgx-1v", "bridged-pairs-8", "pcie-8")
SIZES = (4, 2, 8, 1, 4, 2)


@pytest.fixture
def older_control_plane(older_kubernetes_programs: None, tmp_path: Path) -> Iterator[ControlPlane]:  # noqa: ARG001 - for its skip
    """A control plane of that version."""
    with ControlPlane(tmp_path / "control-plane", minor=OLDER) as running:
        yield running


def test_pods_get_the_best_sets_and_refusals_have_reasons(older_control_plane: ControlPlane, tmp_path: Path) -> None:
    """As on the newest version: compared with all sets of all nodes, and read off the pod and the command line."""
    client = older_control_plane.client
    assert client.version().startswith(f"v{OLDER}.")
    machines = fleet(tmp_path, [{"name": name, "machine": name} for name in MACHINES])
    with Stack(older_control_plane, machines, allocation=Allocation.BEST) as stack:
        cluster = Observer(client, stack)
        topologies = cluster.topologies()
        brute_force = BruteForce(topologies)
        for number, size in enumerate(SIZES):
            got = cluster.schedule(f"pod-{number}", size)
            assert got.node in brute_force.best_nodes(got.free, size), got
            best = brute_force.best_set(got.node, got.free[got.node], size)
            assert ring_bandwidth(topologies[got.node], got.gpus) == pytest.approx(best), got

        wish = {"gpu-scheduler/min-bandwidth-gbps": "400"}
        client.create(pod("too-fast", gpus=2, scheduler_name="gpu-scheduler", annotations=wish))
        refused = client.wait_for("Pod", "too-fast", has_been_refused)
        assert "no set of 2 reaches 400 GB/s" in condition(refused)["message"]
        assert "could serve it: 0" in explain(stack, "default/too-fast")
