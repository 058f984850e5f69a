"""NVIDIA's own device plugin, built from its published Go module, on a node and over a fake driver."""

from pathlib import Path

from tests.control_plane.objects import GPU_RESOURCE
from tests.control_plane.processes import ChildProcess
from tests.go_toolchain import GoModule
from tests.kubelet.driver import FakeDriver
from tests.kubelet.node import KUBELET_FOLDER, KubeletNode

MODULE = GoModule(Path(__file__).parent / "nvidia_device_plugin", label="nvidia-device-plugin")
PACKAGE = "github.com/NVIDIA/k8s-device-plugin/cmd/nvidia-device-plugin"


def nvidia_device_plugin_binary() -> Path:
    """The plugin's program, built on first use.

    Raises:
        GoError: it cannot be built. It takes a C compiler besides Go, as NVIDIA's binding of NVML is partly C; Zig's
            does not know all of the options that it is given.
    """
    return MODULE.build("nvidia-device-plugin", PACKAGE)


def nvidia_device_plugin(
    node: KubeletNode, driver: FakeDriver, *, kubelet_socket: str = "kubelet.sock"
) -> ChildProcess:
    """The plugin of a running node, to be started; it is ready when the Node offers all GPUs.

    It outlives restarts of the kubelet, with which it registers again by itself.

    Args:
        node: where it runs, in the mount namespace that the kubelet is in now.
        driver: the GPUs that it finds.
        kubelet_socket: the name of the socket, in the node's folder of device plugins, where it registers. Somebody
            has to listen there: where nobody does, it tries again after half a minute.
    """
    folder = KUBELET_FOLDER / "device-plugins"
    return ChildProcess(
        f"the device plugin of {node.name}",
        node.beside([str(nvidia_device_plugin_binary())]),
        log=node.folder / "device-plugin.log",
        ready=lambda: gpus_offered(node) == len(driver.machine.uuids),
        environment={
            **driver.environment,
            "KUBELET_SOCKET": str(folder / kubelet_socket),
            "DEVICE_DISCOVERY_STRATEGY": "nvml",
        },
    )


def gpus_offered(node: KubeletNode) -> int:
    """How many healthy GPUs the Node offers, held ones included."""
    return int(node.get()["status"]["allocatable"].get(GPU_RESOURCE, "0"))
