"""What tests of every area may use."""

import os
import shutil
from collections.abc import Iterator
from functools import cache

import pytest

from tests.control_plane.binaries import CONTROL_PLANE, binary
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.go_toolchain import GoError


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for the real control plane, so that `-m "not control_plane"` leaves it out."""
    for item in items:
        if "control_plane_programs" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.control_plane)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the control plane before the first test: a cold build outlasts the timeout of a test."""
    wanted = any(item.get_closest_marker("control_plane") for item in session.items)
    if wanted and not session.config.getoption("collectonly"):
        _why_it_cannot_run()


@pytest.fixture(scope="session")
def control_plane_programs() -> None:
    """The programs of a real control plane can be had; else the test is skipped, or fails where CI=true."""
    reason = _why_it_cannot_run()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def control_plane(
    control_plane_programs: None,  # noqa: ARG001 - for its skip
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ControlPlane]:
    """One real etcd and kube-apiserver for all tests of the session; use `kubernetes_client` for a clean start."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture
def kubernetes_client(control_plane: ControlPlane) -> Iterator[Client]:
    """The admin's client of a cluster without nodes and pods; what the test leaves of them is deleted after it."""
    yield control_plane.client
    control_plane.client.delete_all("Pod")
    control_plane.client.delete_all("Node")


@cache
def _why_it_cannot_run() -> str | None:
    try:
        for name in CONTROL_PLANE if shutil.which("kubectl") else (*CONTROL_PLANE, "kubectl"):
            binary(name)
    except GoError as error:
        return f"The real control plane cannot be had: {error}"
    return None
