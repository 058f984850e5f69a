"""Fast streams of pods: kube-scheduler asks about the next one while it still binds the one before."""

from pathlib import Path
from random import Random

import pytest
import yaml

from gpu_topology.contract import Allocation
from gpu_topology.request import REQUIRE_ANNOTATION
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, pod
from tests.control_plane.observer import Observer
from tests.control_plane.stack import Stack

NODES = 4
PAIRS_EACH = 4
WISHING, OTHERS = 11, 8
"""Pods of two GPUs that insist on NVLink, and pods of one or two that do not: all of them fit."""
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
    """All are created at once, in random order. Every one is bound in the end, and every wish is kept."""
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(yaml.safe_dump({"nodes": [{"name": "n{}", "count": NODES, "machine": "bridged-pairs-8"}]}))
    wishing = [f"wishing-{number}" for number in range(WISHING)]
    others = [f"other-{number}" for number in range(OTHERS)]
    names = Random(1).sample(wishing + others, WISHING + OTHERS)
    with Stack(
        control_plane,
        fleet,
        allocation=Allocation.BEST,
        extender_arguments=extender_arguments,
        extender_configuration=extender_configuration,
    ) as stack:
        observer = Observer(control_plane.client, stack)
        for name in names:
            annotations = {REQUIRE_ANNOTATION: "nvlink"} if name in wishing else {}
            gpus = 2 if name in wishing else 1
            kubernetes_client.create(pod(name, gpus=gpus, scheduler_name="gpu-scheduler", annotations=annotations))
        for name in names:
            kubernetes_client.wait_for("Pod", name, is_bound, seconds=BOUND_SECONDS)
        held = _held_by(observer, len(names))
    assert all(_is_linked(held[f"default/{name}"]) for name in wishing), held


def _held_by(observer: Observer, pods: int) -> dict[str, tuple[int, ...]]:
    """Which GPUs each pod has, once the agents have published all of them."""
    for _ in range(300):
        held = {holder.pod: holder.gpus for state in observer.states().values() for holder in state.held}
        if len(held) == pods:
            return held
    raise TimeoutError(f"{pods} pods are bound, but the agents publish {held}")


def _is_linked(gpus: tuple[int, ...]) -> bool:
    """Whether two GPUs of the machine are a bridged pair: 0-1, 2-3 and so on."""
    first, second = sorted(gpus)
    return first // 2 == second // 2
