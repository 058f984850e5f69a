"""Fast streams of pods: kube-scheduler asks about the next one while it still binds the one before."""

from pathlib import Path

import pytest
import yaml

from gpu_topology.contract import Allocation
from gpu_topology.request import REQUIRE_ANNOTATION
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, pod
from tests.control_plane.observer import Observer
from tests.control_plane.stack import Stack

ONE_LINKED_PAIR = """
	GPU0	GPU1	GPU2	GPU3
GPU0	X	NV4	NODE	NODE
GPU1	NV4	X	NODE	NODE
GPU2	NODE	NODE	X	NODE
GPU3	NODE	NODE	NODE	X
"""
"""A machine, as `nvidia-smi topo -m` shows it, on which the pair that comes second is not linked."""
NODES = 12
WISHING, OTHERS = 6, 6
"""Pods of two GPUs that insist on NVLink, and pods of two that do not, but take the linked pair where they can."""
BOUND_SECONDS = 90.0
"""A pod that is refused once is tried again a second later, then after two, and so on."""


@pytest.mark.parametrize(
    ("extender_arguments", "extender_configuration"),
    [([], {}), (["--bind"], {"bindVerb": "bind"})],
    ids=["shipped", "binding"],
)
def test_no_hard_wish_is_broken_however_fast_pods_come(
    control_plane: ControlPlane,
    kubernetes_client: Client,
    tmp_path: Path,
    extender_arguments: list[str],
    extender_configuration: dict[str, str],
) -> None:
    """All are there before the scheduler starts. Every one is bound in the end, and every wish is kept."""
    (tmp_path / "machine.txt").write_text(ONE_LINKED_PAIR)
    fleet = tmp_path / "fleet.yaml"
    machines = {"name": "n{}", "count": NODES, "dump": "machine.txt", "product": "NVIDIA RTX A6000"}
    fleet.write_text(yaml.safe_dump({"nodes": [machines]}))
    wishing = [f"wishing-{number}" for number in range(WISHING)]
    others = [f"other-{number}" for number in range(OTHERS)]
    names = [name for both in zip(others, wishing, strict=True) for name in both]
    with Stack(
        control_plane,
        fleet,
        allocation=Allocation.BEST,
        extender_arguments=extender_arguments,
        extender_configuration=extender_configuration,
    ) as stack:
        observer = Observer(control_plane.client, stack)
        stack.scheduler.kill()
        for name in names:
            annotations = {REQUIRE_ANNOTATION: "nvlink"} if name in wishing else {}
            kubernetes_client.create(pod(name, gpus=2, scheduler_name="gpu-scheduler", annotations=annotations))
        stack.scheduler.start()
        for name in names:
            kubernetes_client.wait_for("Pod", name, is_bound, seconds=BOUND_SECONDS)
        held = _held_by(observer, len(names))
    assert all(held[f"default/{name}"] == (0, 1) for name in wishing), held


def _held_by(observer: Observer, pods: int) -> dict[str, tuple[int, ...]]:
    """Which GPUs each pod has, once the agents have published all of them."""
    for _ in range(300):
        held = {holder.pod: holder.gpus for state in observer.states().values() for holder in state.held}
        if len(held) == pods:
            return held
    raise TimeoutError(f"{pods} pods are bound, but the agents publish {held}")
