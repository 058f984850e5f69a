"""Settings: from the command line, from the environment, and refused."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from extender.settings import Settings, read_settings
from gpu_topology.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"GPU_SCHEDULER_{name.upper()}", raising=False)


def test_without_any_setting_only_the_probes_are_reachable_from_outside() -> None:
    settings = read_settings([])
    assert settings.verbs_host.is_loopback
    assert settings.probes_host.is_unspecified
    assert (settings.verbs_port, settings.probes_port) == (8888, 8889)
    assert (settings.max_candidates, settings.max_candidates_with_preferences) == (20, 100)
    assert (settings.page_port, settings.page_token_file) == (None, None)
    assert settings.page_host.is_loopback


def test_options_are_read(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.touch()
    settings = read_settings(["--verbs-host", "127.0.0.2", "--max-candidates", "0", "--kubeconfig", str(kubeconfig)])
    assert settings.verbs_host == IPv4Address("127.0.0.2")
    assert settings.max_candidates == 0
    assert settings.kubeconfig == kubeconfig


def test_variables_are_read_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_SCHEDULER_VERBS_PORT", "1")
    monkeypatch.setenv("GPU_SCHEDULER_PROBES_PORT", "2")
    settings = read_settings(["--verbs-port", "3"])
    assert (settings.verbs_port, settings.probes_port) == (3, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--verbs-port", "65536"], "--verbs-port or GPU_SCHEDULER_VERBS_PORT is '65536'"),
        (["--verbs-host", "nowhere"], "--verbs-host or GPU_SCHEDULER_VERBS_HOST is 'nowhere'"),
        (["--max-candidates", "-1"], "--max-candidates or GPU_SCHEDULER_MAX_CANDIDATES is '-1'"),
        (["--max-candidates", "few"], "--max-candidates or GPU_SCHEDULER_MAX_CANDIDATES is 'few'"),
        (["--kubeconfig", "no-such-file"], "--kubeconfig or GPU_SCHEDULER_KUBECONFIG is 'no-such-file'"),
        (["--worth-model", "luck"], "--worth-model"),
        (["--no-such-option", "1"], "unrecognized arguments: --no-such-option"),
        (["--verbs-port"], "--verbs-port: expected one argument"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_variable_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_SCHEDULER_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError, match="GPU_SCHEDULER_LOG_LEVEL is 'loud'"):
        read_settings([])


@pytest.mark.parametrize("given", [["certificate"], ["certificate", "key"], ["client-ca"]], ids=" ".join)
def test_the_files_of_tls_are_given_together_or_not_at_all(tmp_path: Path, given: list[str]) -> None:
    """With a part of them it would be anybody's guess what is meant."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingsError, match="give all of --tls-certificate, --tls-key and --tls-client-ca, or none"):
        read_settings([f"--tls-{name}={file}" for name in given])
    every = read_settings([f"--tls-{name}={file}" for name in ("certificate", "key", "client-ca")])
    assert every.certificates == (file, file, file)
    assert read_settings([]).certificates is None


def test_every_setting_is_documented() -> None:
    assert all(field.description for field in Settings.model_fields.values())
