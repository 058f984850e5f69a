"""The project's own files that these tests read."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.control_plane.binaries import binary
from tests.go_toolchain import GoError

REPOSITORY = Path(__file__).parents[2]
BASE = REPOSITORY / "manifests" / "base"
COMPONENTS = REPOSITORY / "manifests" / "components"
SCHEDULER_CONFIG = REPOSITORY / "config" / "scheduler-config.yaml"

Manifest = dict[str, Any]
"""One Kubernetes object, as parsed."""

FENCED_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def scheduler_config() -> Manifest:
    """config/scheduler-config.yaml."""
    config: Manifest = yaml.safe_load(SCHEDULER_CONFIG.read_text())
    return config


@cache
def kubectl() -> str:
    """The path of kubectl: the installed one, else built from source; skips the test where it cannot be had."""
    try:
        return shutil.which("kubectl") or str(binary("kubectl"))
    except GoError as error:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"There is no kubectl: {error}")


@cache
def render(folder: Path) -> tuple[Manifest, ...]:
    """What `kubectl kustomize` makes of a folder."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"kustomize warns: {done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


def overlay(folder: Path, *components: Path) -> Path:
    """Write an overlay of the base with some components into a folder, as the documentation has it; the folder."""
    folder = folder.resolve()
    # kustomize takes no absolute paths.
    base, *added = (os.path.relpath(path, folder) for path in (BASE, *components))
    kustomization = {"resources": [base], "components": added}
    folder.joinpath("kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def device_plugin_configs() -> dict[str, str]:
    """The configurations of NVIDIA's device plugin in the component `device-plugin-config`, by key."""
    config_map = yaml.safe_load((COMPONENTS / "device-plugin-config" / "config-map.yaml").read_text())
    return dict(config_map["data"])


def pod_specs(manifests: tuple[Manifest, ...]) -> Iterator[tuple[str, Manifest]]:
    """The name and the pod's specification of every Deployment, DaemonSet, Job and Pod."""
    for manifest in manifests:
        match manifest["kind"]:
            case "Deployment" | "DaemonSet" | "Job":
                yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]
            case "Pod":
                yield manifest["metadata"]["name"], manifest["spec"]


def containers(pod_spec: Manifest) -> list[Manifest]:
    """All containers of a pod, the sidecars included."""
    return [*pod_spec.get("initContainers", []), *pod_spec["containers"]]


def fenced_blocks(document: Path, language: str) -> list[str]:
    """The blocks of a markdown file that are marked as being in a language."""
    return blocks_in(document.read_text(), language)


def blocks_in(markdown: str, language: str) -> list[str]:
    """As `fenced_blocks`, of a text."""
    return [text for marked, text in FENCED_BLOCK.findall(markdown) if marked == language]
