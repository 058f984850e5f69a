"""Why `nodeCacheCapable: true` is shipped: with `false`, kube-scheduler scores every node as if it were empty."""

import re
from pathlib import Path

import pytest

from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, pod
from tests.control_plane.stack import Stack
from tests.end_to_end.test_best_node import fleet

SCORE = re.compile(r'"Calculated node\'s final score for pod" pod="default/asks-for-a-gpu" node="([a-c])" score=(\d+)')


@pytest.mark.parametrize("node_cache_capable", [True, False])
def test_only_with_it_does_kube_scheduler_see_what_nodes_hold(
    control_plane: ControlPlane, kubernetes_client: Client, tmp_path: Path, *, node_cache_capable: bool
) -> None:
    """Three equal nodes, one with a pod on it: it should score less, since the default profile spreads."""
    machines = fleet(tmp_path, [{"name": name, "machine": "pcie-8"} for name in "abc"])
    stack = Stack(
        control_plane,
        machines,
        extender_configuration={"nodeCacheCapable": node_cache_capable},
        scheduler_arguments=["--v=10"],
    )
    busy = pod("busy", cpu="64")
    busy["spec"]["nodeName"] = "a"
    with stack:
        kubernetes_client.create(busy)
        kubernetes_client.create(pod("asks-for-a-gpu", gpus=1, scheduler_name="gpu-scheduler"))
        kubernetes_client.wait_for("Pod", "asks-for-a-gpu", is_bound)
        scores = {node: int(score) for node, score in SCORE.findall(stack.scheduler.log.read_text())}
    assert scores.keys() == {"a", "b", "c"}
    assert scores["b"] == scores["c"]
    if node_cache_capable:
        assert scores["a"] < scores["b"]
    else:
        assert scores["a"] == scores["b"], "kubernetes issue 141781 is mended: reconsider the setting"
