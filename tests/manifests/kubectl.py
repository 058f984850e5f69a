"""The real kubectl on a control plane, and what it applies."""

import json
import subprocess
from pathlib import Path

from tests.manifests import files
from tests.manifests.files import Manifest


class Kubectl:
    """kubectl as the cluster's administrator; a warning of the API server is an error."""

    def __init__(self, kubeconfig: Path) -> None:
        self._command = [files.kubectl(), f"--kubeconfig={kubeconfig}"]

    def __call__(self, *arguments: str, manifest: Manifest | None = None) -> "subprocess.CompletedProcess[str]":
        command = [*self._command, *arguments, "--warnings-as-errors"]
        text = None if manifest is None else json.dumps(manifest)
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def apply(self, *arguments: str) -> None:
        """Apply manifests server-side; fails the test where that fails."""
        done = self("apply", "--server-side", *arguments)
        assert done.returncode == 0, done.stderr
