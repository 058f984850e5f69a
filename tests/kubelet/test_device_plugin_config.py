"""The component `device-plugin-config`, as NVIDIA's own device plugin understands it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.control_plane.processes import ChildProcess, ProcessError
from tests.fake_nvml.machine import load
from tests.kubelet.conftest import NodeOf
from tests.kubelet.device_plugin import nvidia_device_plugin_binary
from tests.kubelet.node import KUBELET_FOLDER
from tests.manifests.files import device_plugin_configs

MACHINE = load("dgx-1v")
ANNOUNCED = "Running with config:\n"
SHARES = {"name": "nvidia.com/gpu", "rename": "nvidia.com/gpu.shared", "devices": "all", "replicas": 4}


def understood(folder: Path, config: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What the plugin says that it runs with; there is no GPU here, and it waits for one.

    Raises:
        ProcessError: it does not take the configuration.
    """
    folder.joinpath("config.yaml").write_text(config)
    log = folder / "plugin.log"

    def announced() -> bool:
        return log.exists() and "Retrieving plugins" in log.read_text()

    plugin = ChildProcess(
        "the device plugin",
        [str(nvidia_device_plugin_binary())],
        log=log,
        ready=announced,
        environment={
            "CONFIG_FILE": str(folder / "config.yaml"),
            "KUBELET_SOCKET": str(folder / "kubelet.sock"),
            "FAIL_ON_INIT_ERROR": "false",
            "MPS_ROOT": str(folder),
            **(environment or {}),
        },
    )
    with plugin:
        text = log.read_text()
    config_read: dict[str, Any]
    config_read, _ = json.JSONDecoder().raw_decode(text, text.index(ANNOUNCED) + len(ANNOUNCED))
    return config_read


@pytest.mark.usefixtures("kubelet_programs")
@pytest.mark.parametrize(
    ("key", "strategy", "sharing"),
    [
        ("whole", "none", {}),
        ("mig-mixed", "mixed", {}),
        ("mig-single", "single", {}),
        ("time-slicing", "none", {"timeSlicing": [SHARES]}),
        ("mps", "none", {"mps": [SHARES]}),
    ],
)
def test_the_plugin_reads_out_of_each_key_what_the_pages_say(
    tmp_path: Path, key: str, strategy: str, sharing: dict[str, Any]
) -> None:
    """It passes over fields that it does not know, so it has to be asked what it made of them."""
    read = understood(tmp_path, device_plugin_configs()[key])
    assert read["flags"]["migStrategy"] == strategy
    assert {how: found["resources"] for how, found in read["sharing"].items() if found} == sharing
    assert all(found["failRequestsGreaterThanOne"] for found in read["sharing"].values() if found)


def test_every_key_has_been_read() -> None:
    assert set(device_plugin_configs()) == {"whole", "mig-mixed", "mig-single", "time-slicing", "mps"}


@pytest.mark.usefixtures("kubelet_programs")
def test_a_strategy_in_the_plugins_environment_wins_over_the_file(tmp_path: Path) -> None:
    """As the page on MIG warns."""
    read = understood(tmp_path, device_plugin_configs()["mig-mixed"], {"MIG_STRATEGY": "single"})
    assert read["flags"]["migStrategy"] == "single"


@pytest.mark.usefixtures("kubelet_programs")
def test_the_plugin_refuses_mps_together_with_mixed(tmp_path: Path) -> None:
    """As the page on sharing says."""
    with pytest.raises(ProcessError, match="mig-strategy=mixed is not supported with MPS"):
        understood(tmp_path, device_plugin_configs()["mps"].replace("none", "mixed"))


def test_a_node_that_is_shared_offers_four_shares_a_gpu_and_no_gpu(node_of: NodeOf, tmp_path: Path) -> None:
    """A real kubelet counts what the plugin offers under the name that pods ask for."""
    gpu_node = node_of(MACHINE)
    config = tmp_path / "config.yaml"
    config.write_text(device_plugin_configs()["time-slicing"])

    def offered() -> bool:
        offers: dict[str, str] = gpu_node.node.get()["status"]["allocatable"]
        return offers.get("nvidia.com/gpu.shared") == str(4 * len(MACHINE.uuids))

    plugin = ChildProcess(
        "the device plugin",
        gpu_node.node.beside([str(nvidia_device_plugin_binary())]),
        log=tmp_path / "plugin.log",
        ready=offered,
        environment={
            **gpu_node.driver.environment,
            "CONFIG_FILE": str(config),
            "KUBELET_SOCKET": str(KUBELET_FOLDER / "device-plugins" / "kubelet.sock"),
            "DEVICE_DISCOVERY_STRATEGY": "nvml",
        },
    )
    with plugin:
        assert "nvidia.com/gpu" not in gpu_node.node.get()["status"]["allocatable"]
