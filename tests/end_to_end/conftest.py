"""Programs that only some tests here run, built before the first of them."""

import os
from functools import cache

import pytest

from tests.control_plane.binaries import NEWEST, binary
from tests.go_toolchain import GoError

OLDER = "1.35"
PROGRAMS = {
    "controller_manager_program": (("kube-controller-manager", NEWEST),),
    "older_kubernetes_programs": (("kube-apiserver", OLDER), ("kube-scheduler", OLDER)),
}
"""Fixture to the programs that it stands for, and their minor version."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what will be wanted: a cold build outlasts the timeout of a test."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if not session.config.getoption("collectonly"):
        for fixture in PROGRAMS.keys() & wanted:
            _why_there_are_none(fixture)


@pytest.fixture(scope="session")
def controller_manager_program(control_plane_programs: None) -> None:  # noqa: ARG001 - for its skip and its mark
    """A real kube-controller-manager can be had; else the test is skipped, or fails where CI=true."""
    _need("controller_manager_program")


@pytest.fixture(scope="session")
def older_kubernetes_programs(control_plane_programs: None) -> None:  # noqa: ARG001 - for its skip and its mark
    """A real control plane of an older minor version can be had; else as above."""
    _need("older_kubernetes_programs")


def _need(fixture: str) -> None:
    reason = _why_there_are_none(fixture)
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@cache
def _why_there_are_none(fixture: str) -> str | None:
    try:
        for name, minor in PROGRAMS[fixture]:
            binary(name, minor)
    except GoError as error:
        return f"{name} {minor} cannot be had: {error}"
    return None
