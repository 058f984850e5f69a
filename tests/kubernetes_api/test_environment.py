"""What a connection takes from the environment of its process."""

import pytest
from kubernetes.aio.client.configuration import Configuration

from kubernetes_api.environment import settle_environment


def settled(monkeypatch: pytest.MonkeyPatch, proxy: str | None = None, **environment: str) -> Configuration:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configuration = Configuration(host="https://api.example:6443", proxy=proxy)
    settle_environment(configuration)
    return configuration


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, HTTPS_PROXY="http://proxy.example:3128").proxy == "http://proxy.example:3128"


def test_an_api_server_that_is_exempt_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    exempt = {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "other.example,.example"}
    assert settled(monkeypatch, **exempt).proxy is None


def test_the_proxy_of_the_kubeconfig_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    made = settled(monkeypatch, proxy="http://named.example", HTTPS_PROXY="http://proxy.example:3128")
    assert made.proxy == "http://named.example"


def test_nothing_is_looked_up_in_the_environment_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport would do so in two threads a request, which takes longer than the request itself."""
    assert settled(monkeypatch).client_session_kwargs == {"trust_env": False}
