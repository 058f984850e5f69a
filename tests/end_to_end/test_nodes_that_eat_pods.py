"""A node whose pods are refused one after the other stops attracting them: real control plane, real scheduler."""

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from extender.outcomes import START_WINDOW
from gpu_topology.contract import Allocation
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, pod
from tests.control_plane.stack import Stack
from tests.end_to_end.test_best_node import fleet

FAILURES = 3
PAUSE_SECONDS = 15
NOTICED_SECONDS = 15.0
"""How long the extender may take to see what became of a pod: it is a watch event away."""


def at(moment: datetime) -> str:
    """A time as the kubelet writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Kubelet:
    """Says what became of pods, in the place of the kubelets that are not there."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def refuse(self, name: str) -> None:
        """Refuse a pod as the kubelet does where the device plugin cannot allocate."""
        message = "Pod was rejected: Allocate failed due to GPU is lost, which is unexpected"
        status = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
        self._say(name, status | {"startTime": at(datetime.now(UTC))})

    def run(self, name: str) -> None:
        """Run a pod's container, for a second longer than its start takes."""
        running = {"running": {"startedAt": at(datetime.now(UTC) - (START_WINDOW + timedelta(seconds=1)))}}
        container = {"name": "main", "image": "example/image", "imageID": "", "ready": True, "restartCount": 0}
        self._say(name, {"phase": "Running", "containerStatuses": [container | {"state": running}]})

    def _say(self, name: str, status: dict[str, Any]) -> None:
        self._client.patch("Pod", name, {"status": status}, subresource="status")


def place(client: Client, name: str, gpus: int) -> str:
    """Create a pod and wait for the node that it is bound to."""
    client.create(pod(name, gpus=gpus, scheduler_name="gpu-scheduler"))
    return str(client.wait_for("Pod", name, is_bound)["spec"]["nodeName"])


def wait_for_standing(stack: Stack, node: str, standing: str, seconds: float = NOTICED_SECONDS) -> dict[str, Any]:
    """The node's page in the extender's books once it has this standing."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        page: dict[str, Any] = httpx.get(f"{stack.extender_url}/v1/nodes/{node}", trust_env=False).json()
        if page["standing"] == standing:
            return page
    raise TimeoutError(f"{node} is not {standing}: {page}")


def wait_for_event(client: Client, node: str, reason: str) -> dict[str, Any]:
    """An event about a node, once it is there."""
    with closing(client.watch("Event", "default", api_version="events.k8s.io/v1", seconds=30)) as changes:
        for _, event in changes:
            if event["regarding"].get("name") == node and event["reason"] == reason:
                return event
    raise TimeoutError(f"there is no event {reason} of {node}")


def test_a_node_that_refuses_pods_is_left_out_and_comes_back(
    control_plane: ControlPlane, kubernetes_client: Client, tmp_path: Path
) -> None:
    """The faster machine looks empty again after each refusal, and would get every pod."""
    machines = fleet(
        tmp_path, [{"name": "pod-eater", "machine": "hgx-h100"}, {"name": "honest", "machine": "p4-nvlink-4"}]
    )
    options = ["--failing-nodes", str(FAILURES), "--failing-nodes-pause-seconds", str(PAUSE_SECONDS)]
    kubelet = Kubelet(kubernetes_client)
    with Stack(control_plane, machines, allocation=Allocation.BEST, extender_arguments=options) as stack:
        assert place(kubernetes_client, "refused-0", 2) == "pod-eater"
        kubelet.refuse("refused-0")
        for number in range(1, FAILURES):
            # Suspect by now it comes behind the other one, but there is no other machine with eight GPUs.
            assert place(kubernetes_client, f"refused-{number}", 8) == "pod-eater"
            kubelet.refuse(f"refused-{number}")
        page = wait_for_standing(stack, "pod-eater", "left-out")
        reason = "3 GPU pods of 3 owners failed here within 10 minutes, the last: UnexpectedAdmissionError; left out"
        assert page["standing_reason"].startswith(reason)
        assert place(kubernetes_client, "elsewhere", 2) == "honest"
        event = wait_for_event(kubernetes_client, "pod-eater", "GpuNodeLeftOut")
        assert event["note"].startswith(reason)
        assert (event["type"], event["reportingController"]) == ("Warning", "gpu-scheduler/extender")

        wait_for_standing(stack, "pod-eater", "probation", PAUSE_SECONDS + NOTICED_SECONDS)
        wait_for_event(kubernetes_client, "pod-eater", "GpuNodeTakenBack")
        assert place(kubernetes_client, "brave", 8) == "pod-eater"
        kubelet.run("brave")
        wait_for_standing(stack, "pod-eater", "good")
