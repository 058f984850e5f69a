"""A kubelet's configuration for a machine that is no node: nothing of the machine is measured, limited or changed."""

import resource
from pathlib import Path
from typing import Any

MOST_OPEN_FILES = 20_000


def kubelet_configuration(*, runtime: Path, folder: Path, topology_manager_policy: str) -> dict[str, Any]:
    """A KubeletConfiguration.

    Args:
        runtime: the container runtime's socket.
        folder: for what the kubelet writes and does not keep in /var/lib/kubelet.
        topology_manager_policy: as the kubelet names it: "none", "best-effort", "restricted", "single-numa-node".
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{runtime}",
        "imageServiceEndpoint": f"unix://{runtime}",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "topologyManagerPolicy": topology_manager_policy,
        "nodeStatusUpdateFrequency": "1s",
        # Nobody is to reach it but through its Unix sockets.
        "enableServer": False,
        "healthzPort": 0,
        "readOnlyPort": 0,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        # The machine's control groups, processes, packet filters and files stay as they are.
        "makeIPTablesUtilChains": False,
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "maxOpenFiles": min(MOST_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        "resolvConf": "",
        "failSwapOn": False,
        # However full the machine is, no pod is evicted for it.
        "localStorageCapacityIsolation": False,
        "evictionHard": {
            "memory.available": "1Mi",
            **dict.fromkeys(("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%"),
        },
    }
