"""Clusters made up for measurements: real machine profiles, pods on them at random, everything published."""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any, Final
from uuid import NAMESPACE_DNS, uuid5

from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    Holder,
    NodeState,
    encode_state,
    encode_topology,
    topology_hash,
)
from gpu_topology.request import GPU_RESOURCE
from topology_agent.profiles import load_machine
from topology_agent.simulation import with_uuids

MACHINES: Final = ("dgx-1v", "dgx-a100", "hgx-h100", "pcie-8", "bridged-pairs-8", "gb200-tray")
"""The profiles that a synthetic cluster cycles through."""
HELD_SHARES: Final = (0.0, 0.3, 0.6)
"""Shares of the GPUs that are held."""


def node_names(count: int) -> list[str]:
    """The first names of a synthetic cluster, as long as those that cloud providers give."""
    return [f"gpu-pool-a-{index:05d}.eu-central.example" for index in range(count)]


def published_nodes(
    count: int, machines: Sequence[str] = MACHINES, seed: int = 0, held_shares: Sequence[float] = HELD_SHARES
) -> Iterator[dict[str, Any]]:
    """Nodes as the API server shows them when their agents have published topology and state.

    Each node has GPUs with UUIDs of its own, so that no two topology annotations are equal, as in a real cluster. A
    random part of its GPUs is held.

    Args:
        count: how many nodes.
        machines: the profiles that they cycle through.
        seed: of what is random.
        held_shares: shares of a node's GPUs that are held, on average; drawn for each GPU.
    """
    chooser = random.Random(seed)
    kinds = cycle([load_machine(name) for name in machines])
    for name, machine in zip(node_names(count), islice(kinds, count), strict=True):
        topology = encode_topology(with_uuids(machine, name))
        held = [gpu for gpu in range(len(machine)) if chooser.random() < chooser.choice(held_shares)]
        state = NodeState(
            topology_hash=topology_hash(topology),
            sequence=1,
            free=tuple(gpu for gpu in range(len(machine)) if gpu not in held),
            held=tuple(Holder(f"team/{name}-{gpu}", "main", (gpu,)) for gpu in held),
        )
        yield node(name, len(machine), {TOPOLOGY_ANNOTATION: topology, STATE_ANNOTATION: encode_state(state)})


def node(name: str, gpus: int, annotations: dict[str, str]) -> dict[str, Any]:
    """A node in the API server's JSON form, as far as schedulers read it."""
    amounts = {"cpu": "128", "memory": "1024Gi", "pods": "110", GPU_RESOURCE: str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": str(uuid5(NAMESPACE_DNS, name)), "annotations": annotations},
        "status": {"capacity": amounts, "allocatable": amounts},
    }


def pending_pod(name: str, gpus: int, namespace: str = "team") -> dict[str, Any]:
    """A pod as kube-scheduler sends it to extenders: of the size that a small real one has."""
    resources = {"cpu": "8", "memory": "64Gi", GPU_RESOURCE: str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": str(uuid5(NAMESPACE_DNS, f"{namespace}/{name}")),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "train", "job-name": name},
            "annotations": {"gpu-scheduler/communication": "heavy"},
        },
        "spec": {
            "schedulerName": "gpu-scheduler",
            "containers": [
                {
                    "name": "main",
                    "image": "train:1",
                    "command": ["python", "train.py"],
                    "env": [{"name": f"SETTING_{index}", "value": str(index)} for index in range(8)],
                    "resources": {"requests": resources, "limits": resources},
                    "terminationMessagePath": "/dev/termination-log",
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
            "restartPolicy": "Never",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
                {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"},
            ],
        },
        "status": {"phase": "Pending", "qosClass": "Burstable"},
    }
