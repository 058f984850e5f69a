"""The real Kubernetes components and etcd, built from the pinned Go module in `kubernetes/`.

`python -m tests.control_plane.binaries [name ...]` builds ahead of time what the tests would build on first use.
"""

import os
import re
import sys
from functools import cache
from pathlib import Path

from tests.go_toolchain import GoModule

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-scheduler")
"""What a ControlPlane runs."""

PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
}
"""The main package of each program."""


def binary(name: str) -> Path:
    """The program of this name: from the folder KUBEBUILDER_ASSETS where it has one, else built into the cache.

    Raises:
        GoError: It has to be built and cannot be.
        KeyError: No such program is known.
    """
    package = PACKAGES[name]
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).is_file():
        return Path(assets) / name
    return _module().build(name, package)


@cache
def _module() -> GoModule:
    folder = Path(__file__).parent / "kubernetes"
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
        sys.stdout.write(f"{binary(wanted)}\n")
