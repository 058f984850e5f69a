"""NUMA nodes that a kubelet and a device plugin see, on a machine that has others or none."""

import os
from collections.abc import Mapping
from pathlib import Path

MEMORY_KIB = 16 * 2**20
LOCAL, REMOTE = 10, 20
"""Distances as the firmware gives them."""


def numa_mounts(gpus: Mapping[str, int], folder: Path) -> dict[str, Path]:
    """Mounts for a `KubeletNode` in which each GPU is on a NUMA node. All CPUs are on node 0.

    Args:
        gpus: the PCI addresses of the GPUs, and their NUMA nodes.
        folder: an existing one, for the files.
    """
    system, pci = folder / "numa-nodes", folder / "pci-devices"
    nodes = range(max(gpus.values()) + 1)
    for node in nodes:
        (system / f"node{node}" / "hugepages").mkdir(parents=True)
        distances = " ".join(str(LOCAL if other == node else REMOTE) for other in nodes)
        (system / f"node{node}" / "distance").write_text(f"{distances}\n")
        (system / f"node{node}" / "meminfo").write_text(f"Node {node} MemTotal: {MEMORY_KIB} kB\n")
    for cpu in range(os.cpu_count() or 1):
        (system / "node0" / f"cpu{cpu}").symlink_to(f"/sys/devices/system/cpu/cpu{cpu}")
    for address, node in gpus.items():
        (pci / address).mkdir(parents=True)
        (pci / address / "numa_node").write_text(f"{node}\n")
    return {"/sys/devices/system/node": system, "/sys/bus/pci/devices": pci}
