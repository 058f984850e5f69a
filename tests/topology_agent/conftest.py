"""What several tests of the agent use."""

import ctypes
import os
from pathlib import Path

import pynvml
import pytest

from tests.fake_nvml import library
from tests.fake_nvml.machine import Machine


class FakeNvml:
    """The hardware that NVML tells of in this process."""

    def __init__(self, machine: Path, xids: Path) -> None:
        self._machine = machine
        self._xids = xids

    def play(self, played: Machine) -> None:
        """Let the hardware be this from now on."""
        unfinished = self._machine.with_suffix(".new")
        played.write(unfinished).replace(self._machine)

    def report_xid(self, gpu: int, xid: int) -> None:
        """Let a GPU report an XID error."""
        with self._xids.open("a") as file:
            file.write(f"{gpu} {xid}\n")


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the fake libnvidia-ml.so.1; skips the test, or fails where CI=true, if it cannot be had."""
    folder = tmp_path_factory.mktemp("fake_nvml")
    try:
        library.build(folder)
    except library.FakeNvmlError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    return folder


@pytest.fixture
def fake_nvml(fake_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """The fake library as the NVML of this process, with no machine yet."""
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(fake_library / "libnvidia-ml.so.1")))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setenv("FAKE_NVML_MACHINE", str(tmp_path / "machine"))
    monkeypatch.setenv("FAKE_NVML_XIDS", str(tmp_path / "xids"))
    return FakeNvml(tmp_path / "machine", tmp_path / "xids")
