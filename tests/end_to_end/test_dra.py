"""GPUs that a DRA driver hands out under the name of the device plugin's: real API server and kube-scheduler."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gpu_topology.contract import Allocation
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import GPU_RESOURCE, is_bound, node, pod
from tests.control_plane.stack import Stack
from tests.end_to_end.test_best_node import fleet
from tests.end_to_end.test_preemption import condition, has_been_refused

API = "resource.k8s.io/v1"
DRIVER, CLASS = "gpu.driver.example", "gpu.class.example"
WITH_DRIVER, WITH_PLUGIN = "with-driver", "with-plugin"
BOOKS_SECONDS = 15.0
"""How long the extender may take to see something: it is a watch event away."""


@pytest.fixture
def client(kubernetes_client: Client) -> Iterator[Client]:
    """A cluster with a class of devices that stands for GPUs, and a node with two of them from its driver alone."""
    kubernetes_client.create(node(WITH_DRIVER, cpu="128"))
    kubernetes_client.create(
        {
            "apiVersion": API,
            "kind": "DeviceClass",
            "metadata": {"name": CLASS},
            "spec": {
                "selectors": [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}],
                "extendedResourceName": GPU_RESOURCE,
            },
        }
    )
    kubernetes_client.create(
        {
            "apiVersion": API,
            "kind": "ResourceSlice",
            "metadata": {"name": WITH_DRIVER},
            "spec": {
                "driver": DRIVER,
                "nodeName": WITH_DRIVER,
                "pool": {"name": WITH_DRIVER, "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": "gpu-0"}, {"name": "gpu-1"}],
            },
        }
    )
    yield kubernetes_client
    for kind in ("DeviceClass", "ResourceSlice"):
        kubernetes_client.delete_all(kind, api_version=API)
    for claim in kubernetes_client.list("ResourceClaim", api_version=API):
        # kube-controller-manager, which would take the finalizer away, does not run here.
        name, released = claim["metadata"]["name"], {"metadata": {"finalizers": None}}
        kubernetes_client.patch("ResourceClaim", name, released, api_version=API)
    kubernetes_client.delete_all("ResourceClaim", api_version=API)


def asking(name: str, gpus: int, on: str, **wishes: str) -> dict[str, Any]:
    """A pod that wants to go to one node."""
    annotations = {f"gpu-scheduler/{key}": value for key, value in wishes.items()}
    made = pod(name, gpus=gpus, scheduler_name="gpu-scheduler", annotations=annotations)
    made["spec"]["nodeSelector"] = {"kubernetes.io/hostname": on}
    return made


def wait_for_page(stack: Stack, name: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A node's page in the extender's books once it is as wanted."""
    deadline = time.monotonic() + BOOKS_SECONDS
    while time.monotonic() < deadline:
        page: dict[str, Any] = httpx.get(f"{stack.extender_url}/v1/nodes/{name}", trust_env=False).json()
        if until(page):
            return page
    raise TimeoutError(f"the books of {name} are not as wanted: {page}")


def explain(stack: Stack, name: str) -> str:
    """What the command line says about a pod."""
    command = [sys.executable, "-m", "gputopo", "explain", f"default/{name}", "--url", stack.extender_url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_drivers_gpus_are_counted_and_nothing_is_promised_of_them(
    control_plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    """kube-scheduler allocates them through a claim, beside a node that still has its device plugin."""
    machines = fleet(tmp_path, [{"name": WITH_PLUGIN, "machine": "dgx-1v"}])
    with Stack(control_plane, machines, allocation=Allocation.BEST) as stack:
        wait_for_page(stack, WITH_DRIVER, lambda page: page["knowledge"] == "dra")
        client.create(asking("by-driver", 1, WITH_DRIVER))
        bound = client.wait_for("Pod", "by-driver", is_bound)
        assert bound["spec"]["nodeName"] == WITH_DRIVER
        status = bound["status"]["extendedResourceClaimStatus"]
        [mapping] = status["requestMappings"]
        assert (mapping["containerName"], mapping["resourceName"]) == ("main", GPU_RESOURCE)
        claim = client.get("ResourceClaim", status["resourceClaimName"], api_version=API)
        [result] = claim["status"]["allocation"]["devices"]["results"]
        assert (result["driver"], result["request"]) == (DRIVER, mapping["requestName"])

        page = wait_for_page(stack, WITH_DRIVER, lambda page: bool(page["claimed"]))
        expected = {"claim": status["resourceClaimName"], "gpus": 1, "containers": {"main": 1}}
        assert page["claimed"] == {"default/by-driver": expected}
        assert (page["free"], page["expected"]) == (None, {})

        explained = explain(stack, "by-driver")
        assert f"it has 1 GPU through the claim {status['resourceClaimName']}: the DRA driver chose" in explained
        assert f"handed out by the DRA driver of device class {CLASS}, which chooses them itself" in explained

        client.create(asking("by-plugin", 2, WITH_PLUGIN))
        beside = client.wait_for("Pod", "by-plugin", is_bound)
        assert "extendedResourceClaimStatus" not in beside["status"]
        page = wait_for_page(stack, WITH_PLUGIN, lambda page: "default/by-plugin" in {*page["held"], *page["expected"]})
        assert (page["knowledge"], page["claimed"]) == ("known", {})

        client.create(asking("insists", 1, WITH_DRIVER, require="nvlink"))
        refused = client.wait_for("Pod", "insists", has_been_refused)
        assert f"topology unknown: the kubelet offers no {GPU_RESOURCE}" in condition(refused)["message"]
