"""The components for the rest of a GPU cluster's setup, rendered with the base and applied to a real kube-apiserver."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.control_plane.cluster import ControlPlane
from tests.manifests.files import COMPONENTS, REPOSITORY, Manifest, fenced_blocks, overlay, render, scheduler_config
from tests.manifests.kubectl import Kubectl

PAGES = sorted((REPOSITORY / "docs" / "cluster").glob("*.md"))
DEFINITIONS = (Path(__file__).parent / "prometheus_operator.yaml", Path(__file__).parent / "gpu_operator.yaml")
PROFILE = re.compile(r"nvidia\.com/mig-[0-9][\w.]*\w")
SOCKET = {"name": "KUBELET_SOCKET", "value": "/var/lib/kubelet/device-plugins/gpu-topology.sock"}


STRICTLY = ("--server-side", "--dry-run=server", "--validate=strict")
"""An unknown field is an error, and nothing is stored."""


@pytest.fixture(scope="module")
def operators(control_plane: ControlPlane, kubectl: Kubectl) -> Kubectl:
    """Kubectl on a cluster that has the manifests, the operators' kinds, and the GPU operator's namespace."""
    client = control_plane.client
    for path in DEFINITIONS:
        for made in client.apply(path.read_text()):
            name = made["metadata"]["name"]
            client.wait_for("CustomResourceDefinition", name, is_served, api_version="apiextensions.k8s.io/v1")
    client.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gpu-operator"}}])
    return kubectl


def is_served(definition: Manifest) -> bool:
    """Whether the API server takes objects of this kind."""
    conditions = definition.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


@pytest.mark.parametrize("component", ["device-plugin-config", "enforce", "monitoring", "monitoring-dcgm"])
def test_the_api_server_takes_every_component_together_with_the_base(
    operators: Kubectl, component: str, tmp_path: Path
) -> None:
    done = operators("apply", *STRICTLY, "-k", str(overlay(tmp_path, COMPONENTS / component)))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_api_server_takes_the_pods_of_every_page_and_they_ask_our_scheduler(kubectl: Kubectl, page: Path) -> None:
    """As they stand there."""
    for manifest in map(yaml.safe_load, fenced_blocks(page, "yaml")):
        if manifest.get("kind") == "Pod":
            done = kubectl("create", "--dry-run=server", "-f-", manifest=manifest)
            assert done.returncode == 0, done.stderr
            assert manifest["spec"]["schedulerName"] == "gpu-scheduler"


CHANGES = {"patches", "labels", "configMapGenerator"}
"""The fields by which the overlays of the pages change what they take from here."""


def overlays() -> Iterator[Manifest]:
    """What the pages put into a kustomization."""
    for page in [*PAGES, REPOSITORY / "docs" / "enforcing.md"]:
        for block in map(yaml.safe_load, fenced_blocks(page, "yaml")):
            if isinstance(block, dict) and {"components", *CHANGES} & set(block):
                yield block


def rendered_in(folder: Path, block: Manifest) -> tuple[Manifest, ...]:
    """What kustomize makes of a block with the files that it speaks of; where it names none, of the base."""
    folder.mkdir()
    here = os.path.relpath(REPOSITORY, folder.resolve())
    folder.joinpath("nvidia-device-plugin.yml").write_text(yaml.safe_dump(device_plugin()))
    folder.joinpath("scheduler-config.yaml").write_text("somebody's own")
    resources = block.get("resources", [] if "namespace" in block else [f"{here}/manifests/base"])
    components = [path.replace("path/to/this/repository", here) for path in block.get("components", ())]
    kustomization = block | {"resources": resources, "components": components}
    folder.joinpath("kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(folder)


@pytest.mark.parametrize("block", list(overlays()), ids=lambda block: "+".join(sorted(block)))
def test_every_overlay_of_the_pages_renders_and_does_something(block: Manifest, tmp_path: Path) -> None:
    """A patch whose target is not there would be dropped in silence."""
    without = {field: value for field, value in block.items() if field not in CHANGES}
    rendered = rendered_in(tmp_path / "whole", block)
    assert rendered
    assert without == block or rendered != rendered_in(tmp_path / "without", without)


def test_every_mig_profile_of_pages_and_components_is_one_that_reaches_the_extender() -> None:
    """kube-scheduler knows no wildcards: a name that is not listed is scheduled by counting alone."""
    paths = [*PAGES, *COMPONENTS.glob("*/*.yaml")]
    named = {profile for path in paths for profile in PROFILE.findall(path.read_text())}
    managed = {resource["name"] for resource in scheduler_config()["extenders"][0]["managedResources"]}
    assert len(named) >= 3
    assert named <= managed


def device_plugin(container: str = "nvidia-device-plugin-ctr") -> Manifest:
    """A DaemonSet with the names of the vendor's own."""
    labels = {"name": "nvidia-device-plugin-ds"}
    environment = [{"name": "FAIL_ON_INIT_ERROR", "value": "false"}]
    pod = {"containers": [{"name": container, "image": "example/k8s-device-plugin:v0.18.0", "env": environment}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "nvidia-device-plugin-daemonset", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }


def test_the_vendors_device_plugin_registers_at_the_agent_and_stays_as_it_was(kubectl: Kubectl, tmp_path: Path) -> None:
    """The patch finds the vendor's container, adds one variable, and what comes out is taken by the API server."""
    folder = tmp_path.resolve()
    component = os.path.relpath(COMPONENTS / "enforce" / "device-plugin", folder)
    folder.joinpath("plugin.yaml").write_text(yaml.safe_dump(device_plugin()))
    kustomization = {"resources": ["plugin.yaml"], "components": [component]}
    folder.joinpath("kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    [patched] = render(folder)
    [container] = patched["spec"]["template"]["spec"]["containers"]
    assert SOCKET in container["env"]
    container["env"].remove(SOCKET)
    assert patched == device_plugin()
    done = kubectl("apply", *STRICTLY, "-k", str(folder))
    assert done.returncode == 0, done.stderr


def test_the_agent_serves_the_socket_at_which_the_device_plugin_registers(tmp_path: Path) -> None:
    """It enforces, and has the folder of the sockets, to write in."""
    [agent] = [
        manifest["spec"]["template"]["spec"]
        for manifest in render(overlay(tmp_path, COMPONENTS / "enforce"))
        if manifest["kind"] == "DaemonSet"
    ]
    [container] = agent["containers"]
    assert {"name": "TOPOLOGY_AGENT_ENFORCE", "value": "true"} in container["env"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == str(Path(SOCKET["value"]).parent)]
    assert not mount.get("readOnly")
    [volume] = [volume for volume in agent["volumes"] if volume["name"] == mount["name"]]
    assert volume["hostPath"]["path"] == mount["mountPath"]


def test_the_gpu_operators_policy_is_patched_by_the_documented_commands(
    control_plane: ControlPlane, operators: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patch for enforcing, and the one that names the device plugin's configuration; what else is there stays."""
    policy = {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "metadata": {"name": "cluster-policy"}}
    control_plane.client.create(policy | {"spec": {"devicePlugin": {"enabled": True}}})
    pages = [REPOSITORY / "docs" / "enforcing.md", REPOSITORY / "docs" / "cluster" / "mig.md"]
    commands = [
        block.strip()
        for page in pages
        for block in fenced_blocks(page, "sh")
        if block.startswith("kubectl patch clusterpolicy")
    ]
    assert len(commands) == len(pages)
    monkeypatch.chdir(REPOSITORY)
    for command in commands:
        done = operators(*shlex.split(command.replace("\\\n", ""))[1:])
        assert done.returncode == 0, done.stderr
    patched = control_plane.client.get("ClusterPolicy", "cluster-policy", api_version="nvidia.com/v1")
    assert patched["spec"]["devicePlugin"] == {
        "enabled": True,
        "env": [SOCKET],
        "config": {"name": "gpu-device-plugin-config", "default": "whole"},
    }
    control_plane.client.delete("ClusterPolicy", "cluster-policy", api_version="nvidia.com/v1")
