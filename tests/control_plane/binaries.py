"""The real Kubernetes components and etcd, built from the pinned Go modules in `kubernetes/` and beside it.

`python -m tests.control_plane.binaries [name ...]` builds ahead of time what the tests would build on first use; a name
may carry a minor version, as in `kube-scheduler@1.35`.
"""

import os
import re
import sys
from functools import cache
from pathlib import Path

from tests.go_toolchain import GoModule

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-scheduler")
"""What a ControlPlane runs."""

NEWEST = "1.36"
"""The minor version of Kubernetes that the tests run on, unless they name another."""
FOLDERS = {NEWEST: "kubernetes", "1.35": "kubernetes-1.35"}
"""Minor version to the folder of the module that pins it. Older ones have kube-apiserver and kube-scheduler only."""

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
}
"""The main package of each program."""


def binary(name: str, minor: str = NEWEST) -> Path:
    """The program of this name, built into the cache; the newest one from the folder KUBEBUILDER_ASSETS if it is there.

    Raises:
        GoError: It has to be built and cannot be.
        KeyError: No such program or minor version is known.
    """
    package = PACKAGES[name]
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if minor == NEWEST and assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    return _module(minor).build(name, package)


@cache
def _module(of_minor: str) -> GoModule:
    folder = Path(__file__).parent / FOLDERS[of_minor]
    version = _kubernetes_version((folder / "go.mod").read_text())
    major, minor, _ = version.removeprefix("v").split(".")
    # A plain `go build` leaves the version out, and the components then call themselves v0.0.0-master.
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    stamped = [f"-X k8s.io/component-base/version.{variable}={value}" for variable, value in stamps.items()]
    return GoModule(folder, label=f"kubernetes-{version}", ldflags=" ".join(["-s -w", *stamped]))


def _kubernetes_version(go_mod: str) -> str:
    found = re.search(r"k8s\.io/kubernetes (v\d+\.\d+\.\d+)", go_mod)
    if found is None:
        raise ValueError("The go.mod of the control plane does not pin k8s.io/kubernetes.")
    return found[1]


if __name__ == "__main__":
    for wanted in sys.argv[1:] or CONTROL_PLANE:
        sys.stdout.write(f"{binary(*wanted.split('@'))}\n")
