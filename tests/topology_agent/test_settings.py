"""Settings: from flags and the environment; a bad one is said in one line."""

import re
from pathlib import Path

import pytest

from gpu_topology.contract import Allocation
from gpu_topology.errors import SettingsError
from topology_agent.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _no_settings_around_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_NAME", raising=False)


def test_a_daemonset_pod_needs_nothing_but_its_node_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_NAME", "gpu-7")
    settings = load_settings([])
    assert settings.node_name == "gpu-7"
    assert settings.is_nvml
    assert not settings.is_simulated


def test_the_environment_sets_what_no_flag_does_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPOLOGY_AGENT_NODE_NAME", "n")
    monkeypatch.setenv("TOPOLOGY_AGENT_POLL_SECONDS", "7")
    monkeypatch.setenv("TOPOLOGY_AGENT_ALLOCATION", "best")
    settings = load_settings(["--poll-seconds", "3"])
    assert (settings.poll_seconds, settings.allocation) == (3.0, Allocation.BEST)


def test_a_machine_profile_is_simulated_unless_a_kubelet_is_asked_for() -> None:
    assert load_settings(["--node-name", "n", "--machine", "dgx-1v"]).is_simulated
    assert not load_settings(["--node-name", "n", "--machine", "dgx-1v", "--occupancy", "kubelet"]).is_simulated


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --node-name, or set NODE_NAME"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--node-name"], "--node-name: expected one argument"),
        (["--node-name", "Not_A_Name"], "--node-name: "),
        (["--node-name", "n", "--poll-seconds", "often"], "--poll-seconds: Input should be a valid number"),
        (["--node-name", "n", "--poll-seconds", "0"], "--poll-seconds: Input should be greater than"),
        (["--node-name", "n", "--allocation", "worst"], "--allocation: Input should be 'vendor' or 'best'"),
        (["--node-name", "n", "--dump", "nowhere.txt"], "--dump: Path does not point to a file"),
        (["--node-name", "n", "--kubeconfig", "nowhere"], "--kubeconfig: Path does not point to a file"),
        (["--node-name", "n", "--machine", "dgx-2", "--product", "x"], "--product goes with --dump"),
        (["--node-name", "n", "--machine", "dgx-2", "--dump", __file__], "only one of --dump, --machine"),
        (["--simulate", __file__, "--occupancy", "kubelet"], "--simulate has no kubelet"),
        (["--node-name", "n", "--print"], "--print goes with --once"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        load_settings(arguments)
    assert "\n" not in str(caught.value)


def test_every_setting_is_documented_and_every_duration_has_its_unit() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        if field.annotation is float:
            assert name.endswith("_seconds")
            assert "econds" in field.description


def test_the_readme_names_every_setting() -> None:
    readme = Path(__file__).parents[2].joinpath("topology_agent/README.md").read_text()
    missing = [name for name in Settings.model_fields if f"`--{name.replace('_', '-')}`" not in readme]
    assert not missing
