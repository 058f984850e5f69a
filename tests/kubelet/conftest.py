import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.control_plane.binaries import binary
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.fake_nvml import library
from tests.fake_nvml.library import FakeNvmlError
from tests.fake_nvml.machine import Machine
from tests.go_toolchain import GoError
from tests.kubelet.device_plugin import nvidia_device_plugin, nvidia_device_plugin_binary
from tests.kubelet.driver import FakeDriver
from tests.kubelet.gpu_node import GpuNode
from tests.kubelet.namespaces import why_there_are_none
from tests.kubelet.node import KubeletNode

NodeOf: TypeAlias = Callable[[Machine], GpuNode]
"""Starts a node with the GPUs of a machine."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs before the first test: a cold build outlasts the timeout of a test."""
    wanted = any("kubelet_programs" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.getoption("collectonly"):
        _why_it_cannot_run()


@pytest.fixture(scope="session")
def kubelet_programs(control_plane_programs: None) -> None:  # noqa: ARG001 - for its skip and its mark
    """A real kubelet and device plugin can run here; else the test is skipped, or fails where CI=true."""
    reason = _why_it_cannot_run()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def fake_nvml(kubelet_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 - for its skip
    """The fake libnvidia-ml.so.1."""
    try:
        return library.build(tmp_path_factory.mktemp("fake_nvml"))
    except FakeNvmlError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with a path short enough for a `KubeletNode`."""
    return tmp_path_factory.mktemp("node")


@pytest.fixture
def node_of(
    control_plane: ControlPlane,
    kubernetes_client: Client,  # noqa: ARG001 - it deletes the pods, after the node has ended
    fake_nvml: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[NodeOf]:
    """Starts a node with a machine's GPUs and no device plugin yet; it ends with the test."""
    with ExitStack() as running:

        def start(machine: Machine) -> GpuNode:
            folder = tmp_path_factory.mktemp("node")
            node = running.enter_context(KubeletNode(control_plane, folder.name, folder))
            return GpuNode(node, FakeDriver.of(machine, fake_nvml, folder))

        yield start


@pytest.fixture
def gpu_node_of(node_of: NodeOf) -> Iterator[NodeOf]:
    """Starts a node that offers a machine's GPUs through NVIDIA's device plugin; it ends with the test."""
    with ExitStack() as running:

        def start(machine: Machine) -> GpuNode:
            gpu_node = node_of(machine)
            running.enter_context(nvidia_device_plugin(gpu_node.node, gpu_node.driver))
            return gpu_node

        yield start


@cache
def _why_it_cannot_run() -> str | None:
    if (reason := why_there_are_none()) is not None:
        return reason
    try:
        binary("kubelet")
        nvidia_device_plugin_binary()
    except GoError as error:
        return f"A real kubelet and its device plugin cannot be had: {error}"
    return None
