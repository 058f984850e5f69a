"""One node: a real kubelet and its container runtime, beside other nodes on the same machine."""

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.control_plane.binaries import binary
from tests.control_plane.client import ApiError, Object
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.processes import ChildProcess
from tests.kubelet.configuration import kubelet_configuration
from tests.kubelet.namespaces import beside, in_private_mounts

REPOSITORY = Path(__file__).parents[2]
KUBELET_FOLDER = Path("/var/lib/kubelet")
"""Where the kubelet keeps everything, as it and the programs in its mount namespace see it."""
LONGEST_SOCKET = "lib/kubelet/pod-resources/kubelet.sock"
MOST_SOCKET_BYTES = 107
"""What Linux takes for a Unix socket's path (unix(7))."""
SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""What a kubelet sets in the kernel (k8s.io/component-helpers, pkg/node/util/sysctl), if it is not so already."""


class KubeletNode:
    """A running node; a context manager that starts it and ends everything it has started.

    The kubelet is the user `system:node:<name>`. It runs in a mount namespace of its own, in which folders of ours
    stand for /var/lib and /var/log, and ordinary files for the kernel parameters that it sets.

    Attributes:
        name: the Node's name. Unlike other objects the Node does not outlive this.
        control_plane: as given.
        folder: holds all of its files; the logs are `kubelet.log` and `runtime.log`.
        kubelet: the kubelet's process: `kill` and `start` it, and its pods live on.
        runtime: the container runtime's process; the containers' processes are its children and end with it.
        pod_resources_socket: the kubelet's PodResources socket, as the machine sees it.
        device_plugins: the kubelet's folder for the sockets of device plugins, as the machine sees it. The kubelet
            empties it whenever it starts.

    Args:
        control_plane: a running one.
        name: the Node's name, which no other node may have at the same time.
        folder: for its files and no other node's. Its path must be short, for the paths of the Unix sockets in it.
        topology_manager_policy: "none", "best-effort", "restricted" or "single-numa-node".
        mounts: further files and folders of the machine, and what the kubelet and `beside` see in their place; for
            example /sys/devices/system/node for other NUMA nodes.

    Raises:
        ValueError: the folder's path is too long.
        GoError: the kubelet has to be built and cannot be.
        ProcessError: on entering: the runtime or the kubelet does not become ready.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        name: str,
        folder: Path,
        *,
        topology_manager_policy: str = "none",
        mounts: Mapping[str, Path] | None = None,
    ) -> None:
        if len(os.fsencode(folder / LONGEST_SOCKET)) > MOST_SOCKET_BYTES:
            raise ValueError(f"The path of the folder {folder} is too long for Unix sockets in it.")
        self.control_plane = control_plane
        self.name = name
        self.folder = folder
        self.pod_resources_socket = folder / LONGEST_SOCKET
        self.device_plugins = folder / "lib/kubelet/device-plugins"
        self._runtime_socket = folder / "runtime.sock"
        self._topology_manager_policy = topology_manager_policy
        self._mounts = {**self._own_mounts(), **(mounts or {})}
        self._running = ExitStack()
        self.runtime = self._runtime_process()
        self.kubelet = self._kubelet_process()

    def __enter__(self) -> Self:
        self._write_files()
        with ExitStack() as starting:
            starting.enter_context(self.runtime)
            starting.callback(self._forget)
            starting.enter_context(self.kubelet)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def beside(self, command: Sequence[str]) -> list[str]:
        """A command that runs another one, given by its path and arguments, in the kubelet's mount namespace.

        Raises:
            ProcessError: the kubelet has never run.
        """
        return beside(self.kubelet.pid, command)

    def get(self) -> Object:
        """The Node as the API server has it."""
        return self.control_plane.client.get("Node", self.name)

    def pod_log(self, pod: Object, container: str = "main") -> str:
        """What a container of a pod has written so far, as its processes wrote it."""
        metadata = pod["metadata"]
        pod_folder = f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
        return (self.folder / "pod-logs" / pod_folder / container / "0.log").read_text()

    def _own_mounts(self) -> dict[str, Path]:
        sysctls = {f"/proc/sys/{name}": self.folder / "sysctls" / name for name in SYSCTLS}
        return {"/var/lib": self.folder / "lib", "/var/log": self.folder / "log", **sysctls}

    def _write_files(self) -> None:
        for folder in ("lib/kubelet", "log"):
            (self.folder / folder).mkdir(parents=True)
        for name, value in SYSCTLS.items():
            file = self.folder / "sysctls" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{value}\n")
        configuration = kubelet_configuration(
            runtime=self._runtime_socket, folder=self.folder, topology_manager_policy=self._topology_manager_policy
        )
        (self.folder / "kubelet.yaml").write_text(yaml.safe_dump(configuration))

    def _runtime_process(self) -> ChildProcess:
        return ChildProcess(
            f"the runtime of {self.name}",
            [sys.executable, "-m", "tests.kubelet.runtime", str(self._runtime_socket)],
            log=self.folder / "runtime.log",
            ready=lambda: _is_served(self._runtime_socket),
            environment={"PYTHONPATH": str(REPOSITORY)},
        )

    def _kubelet_process(self) -> ChildProcess:
        kubeconfig = self.control_plane.kubeconfig(f"system:node:{self.name}", ["system:nodes"])
        command = [
            str(binary("kubelet")),
            f"--config={self.folder / 'kubelet.yaml'}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            f"--cert-dir={self.folder / 'certificates'}",
        ]
        return ChildProcess(
            f"the kubelet of {self.name}",
            in_private_mounts(self._mounts, command),
            log=self.folder / "kubelet.log",
            ready=self._is_ready,
        )

    def _is_ready(self) -> bool:
        """Whether this kubelet serves, and has told that the node is ready.

        What the last kubelet told of the node stands while nobody is there to tell otherwise; hence the sockets.
        """
        sockets = (self.device_plugins / "kubelet.sock", self.pod_resources_socket)
        try:
            return all(map(_is_served, sockets)) and _condition(self.get(), "Ready") == "True"
        except (ApiError, httpx.TransportError):
            return False

    def _forget(self) -> None:
        """Delete what the kubelet has made of itself, so that another may have its name."""
        client = self.control_plane.client
        for kind, namespace, api_version in (
            ("Node", "default", "v1"),
            ("CSINode", "default", "storage.k8s.io/v1"),
            ("Lease", "kube-node-lease", "coordination.k8s.io/v1"),
        ):
            try:
                client.delete(kind, self.name, namespace, api_version=api_version)
            except ApiError as error:
                if error.status != HTTPStatus.NOT_FOUND:  # it may have come to its end before it made them
                    raise


def _condition(node: Mapping[str, Any], name: str) -> str | None:
    """The status of a condition of a Node; None where it has no such condition yet."""
    conditions = node["status"].get("conditions", [])
    return next((condition["status"] for condition in conditions if condition["type"] == name), None)


def _is_served(path: Path) -> bool:
    """Whether a process listens on a Unix socket; its file outlives the process."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(os.fspath(path))
        except OSError:
            return False
        return True
