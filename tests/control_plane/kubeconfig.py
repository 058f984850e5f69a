"""Kubeconfig files: how a program finds the API server and proves who it is."""

from collections.abc import Mapping
from pathlib import Path

import yaml


def write_kubeconfig(path: Path, *, server: str, authority: Path, credentials: Mapping[str, str]) -> None:
    """Write a kubeconfig with one cluster and one user.

    Args:
        path: The file to write.
        server: The API server's URL.
        authority: The certificate that the server's own is checked by.
        credentials: The user's entry: `client-certificate` and `client-key` (paths), or `token`.
    """
    name = "control-plane"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": name, "user": dict(credentials)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))
