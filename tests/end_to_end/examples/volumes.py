"""The volume that the example with data needs, and that whoever runs a cluster makes."""

from typing import Any


def disk_of(node: str, size: str = "500Gi") -> dict[str, Any]:
    """A volume of the example's class on a disk of this node, which is given to its first claim for good."""
    on_the_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"disk-of-{node}"},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "gpu-node-disks",
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": "/mnt/data"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_the_node]}]}},
        },
    }
