"""The variables by which the pods of a distributed job find one another, as a real kubelet makes them."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.end_to_end.examples import variables
from tests.kubelet.node import KubeletNode
from tests.manifests.files import REPOSITORY

INDEX = "batch.kubernetes.io/job-completion-index"
ADDED_BY_THE_JOB = {
    "name": "JOB_COMPLETION_INDEX",
    "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}},
}
"""What the controller of an Indexed Job puts behind the variables of each container."""
TELL = "import json, os, sys; print(json.dumps({'environment': dict(os.environ), 'command': sys.argv[1:]}))"


def second_pod(example: str) -> dict[str, Any]:
    """The pod with index 1 of an example's Job, without what this test has no use for."""
    manifests = yaml.safe_load_all((REPOSITORY / "manifests" / "examples" / f"{example}.yaml").read_text())
    [job] = [manifest for manifest in manifests if manifest["kind"] == "Job"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    kept = {"name": "main", "image": container["image"], "command": container["command"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{example}-1", "labels": {INDEX: "1"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [kept | {"env": [*container.get("env", []), ADDED_BY_THE_JOB]}],
        },
    }


@pytest.mark.usefixtures("kubelet_programs")
def test_the_kubelet_fills_in_what_the_tests_of_the_examples_say(
    control_plane: ControlPlane, kubernetes_client: Client, node_folder: Path
) -> None:
    """Each container tells its variables and its arguments, instead of training."""
    pods = [second_pod(example) for example in ("pytorch-job", "tensorflow-job")]
    with KubeletNode(control_plane, node_folder.name, node_folder) as node:
        for pod in pods:
            environment, command = variables.environment(pod), variables.command(pod)
            pod["spec"]["nodeName"] = node.name
            pod["spec"]["containers"][0]["command"][:0] = [sys.executable, "-c", TELL]
            created = kubernetes_client.create(pod)
            kubernetes_client.wait_for("Pod", pod["metadata"]["name"], has_succeeded)
            told = json.loads(node.pod_log(created))
            assert told["command"] == command
            assert environment.items() <= told["environment"].items()


def has_succeeded(pod: dict[str, Any]) -> bool:
    """Whether all its containers have ended well."""
    return bool(pod["status"]["phase"] == "Succeeded")
