"""Credentials as kubectl finds them."""

from pathlib import Path

import pytest
import yaml

from gpu_topology.errors import SettingsError
from kubernetes_api import Cluster


def write(path: Path, *contexts: str, current: str | None = None) -> Path:
    """A kubeconfig with a cluster of its own for each context."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}.example"}} for name in contexts],
        "users": [{"name": name, "user": {"token": "secret"}} for name in contexts],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in contexts],
        **({} if current is None else {"current-context": current}),
    }
    path.write_text(yaml.safe_dump(document))
    return path


async def server(kubeconfig: Path | None = None, context: str | None = None) -> str:
    """Where a client with these credentials would ask."""
    async with await Cluster.connect_as_kubectl(kubeconfig, context) as cluster:
        return cluster.server


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of one's own, without a kubeconfig, outside of any cluster."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


async def test_the_current_context_of_the_file_counts_unless_another_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "one", "a", "b", current="b")
    assert await server(file) == "http://b.example"
    assert await server(file, "a") == "http://a.example"


async def test_the_file_in_the_home_is_found(home: Path) -> None:
    (home / ".kube").mkdir()
    write(home / ".kube" / "config", "a", current="a")
    assert await server() == "http://a.example"


async def test_of_several_files_the_first_that_names_a_current_context_decides(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in kubectl; files that are not there are passed over."""
    files = [write(tmp_path / "1", "a"), tmp_path / "absent", write(tmp_path / "2", "b", current="b")]
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, [*files, write(tmp_path / "3", "c", current="c")])))
    assert await server() == "http://b.example"
    assert await server(None, "a") == "http://a.example"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "it holds no mapping"),
        ("[]", "it holds no mapping"),
        ("a: [", "is no kubeconfig: while parsing a flow node"),
        ("\x00", "is no kubeconfig: unacceptable character"),
        ("a: b", "Expected key current-context"),
        ("current-context: a\ncontexts: 5", "no usable credentials"),
        ("current-context: a\ncontexts: [5]", "no usable credentials"),
    ],
)
async def test_what_is_no_kubeconfig_is_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(SettingsError, match=sentence) as refusal:
        await server(file)
    assert "\n" not in str(refusal.value)


async def test_without_any_credentials_it_is_said_where_they_were_looked_for() -> None:
    with pytest.raises(SettingsError, match=r"KUBECONFIG names no file that exists, there is no ~/\.kube/config"):
        await server()
