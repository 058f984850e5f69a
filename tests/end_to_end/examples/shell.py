"""A shell in which the commands of the documentation work as they are written there."""

import os
import subprocess
import sys
from pathlib import Path
from shlex import quote

from tests.manifests.files import REPOSITORY, kubectl


class Shell:
    """Runs commands at the root of the repository, with `kubectl` and `gputopo` set up as a user has them.

    Args:
        folder: for what they need; empty or not there yet.
        kubeconfig: of the cluster.
        namespace: kubectl's, unless a command names another.
        extender_url: where `gputopo explain` asks.
    """

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str, extender_url: str) -> None:
        programs = folder / "bin"
        programs.mkdir(parents=True)
        _script(programs / "kubectl", f'{quote(kubectl())} --namespace={namespace} "$@"')
        _script(programs / "gputopo", f'{quote(sys.executable)} -m gputopo "$@" --url={extender_url}')
        self._environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubeconfig),
            "KUBECACHEDIR": str(folder / "kube-cache"),
        }

    def run(self, command: str) -> None:
        """Run a command that has to succeed."""
        done = self._run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}"

    def ask(self, command: str) -> str:
        """What a command prints, on standard error too, however it ends."""
        return self._run(command).stdout

    def _run(self, command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=REPOSITORY,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def _script(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\nexec {command}\n")
    path.chmod(0o755)
