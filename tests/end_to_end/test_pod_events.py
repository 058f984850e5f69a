"""What a pod says of itself while it waits and once it is bound, through the real scheduler."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gpu_topology.contract import Allocation
from gpu_topology.request import REQUIRE_ANNOTATION
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, pod
from tests.control_plane.observer import Observer
from tests.control_plane.stack import Stack
from tests.end_to_end.test_pods_on_their_way import ONE_LINKED_PAIR

EVENTS = "events.k8s.io/v1"
OURS = "gpu-scheduler/extender"


@pytest.fixture
def client(kubernetes_client: Client) -> Client:
    """The admin's client of a cluster without events, which outlive their pods."""
    kubernetes_client.delete_all("Event", api_version=EVENTS)
    return kubernetes_client


def wait_for_event(client: Client, name: str, reason: str) -> dict[str, Any]:
    """The event of ours with this reason about a pod, once it is there."""
    for change, event in client.watch("Event", "default", api_version=EVENTS, seconds=30.0):
        about = event["regarding"].get("name") == name and event.get("reportingController") == OURS
        if change != "DELETED" and about and event["reason"] == reason:
            return event
    raise TimeoutError(f"no event {reason} about {name}")


def linked_pair(name: str) -> dict[str, Any]:
    """A pod that insists on two linked GPUs."""
    return pod(name, gpus=2, scheduler_name="gpu-scheduler", annotations={REQUIRE_ANNOTATION: "nvlink"})


def test_a_pod_says_why_it_waits_and_then_what_it_got(
    control_plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    """Two GPUs are free, but not the linked pair, until the one that holds the other half of it ends."""
    (tmp_path / "machine.txt").write_text(ONE_LINKED_PAIR)
    fleet = tmp_path / "fleet.yaml"
    machine = {"name": "n", "dump": "machine.txt", "product": "NVIDIA RTX A6000"}
    fleet.write_text(yaml.safe_dump({"nodes": [machine]}))
    with Stack(control_plane, fleet, allocation=Allocation.BEST) as stack:
        observer = Observer(client, stack)
        singles = {scheduled.gpus: scheduled for scheduled in (observer.schedule(f"one-{i}", 1) for i in range(4))}
        for gpu in (0, 2):
            observer.end(singles[gpu,])
        client.create(linked_pair("refused"))
        waits = wait_for_event(client, "refused", "WaitsForLinkedGpus")
        client.delete("Pod", "refused")  # it would be tried again, but nobody can say when
        observer.end(singles[1,])
        client.create(linked_pair("served"))
        client.wait_for("Pod", "served", is_bound)
        got = wait_for_event(client, "served", "GpusPlaced")
        metrics = httpx.get(f"{stack.probes_url}/metrics", trust_env=False).text
    assert "1 node where no free set has in common what it requires" in waits["note"]
    assert got["note"] == (
        "2 GPUs on n are expected to reach 56 GB/s; the best that such a machine gives when it is empty is 56"
    )
    assert 'gpu_scheduler_placements_total{quality="best"} 1.0' in metrics
    assert 'gpu_scheduler_pod_events_total{outcome="failed"} 0.0' in metrics
    ours = [each for each in client.list("Event", api_version=EVENTS) if each.get("reportingController") == OURS]
    assert sorted((each["regarding"]["name"], each["reason"]) for each in ours) == [
        ("refused", "WaitsForLinkedGpus"),
        ("served", "GpusPlaced"),
    ]
