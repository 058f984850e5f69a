"""The GPU nodes of a running cluster, as their agents have published them."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_topology.contract import TOPOLOGY_ANNOTATION, decode_topology
from gpu_topology.errors import ContractError, SettingsError
from gpu_topology.request import GPU_RESOURCE
from gpu_topology.topology import NodeTopology
from kubernetes_api import Cluster, Resource


@dataclass(frozen=True, slots=True)
class LiveNodes:
    """What a cluster's nodes say of their GPUs.

    Attributes:
        machines: node to its topology.
        unknown: GPU node whose links are not known, to the reason.
    """

    machines: Mapping[str, NodeTopology]
    unknown: Mapping[str, str]


def read_live_nodes(kubeconfig: Path | None) -> LiveNodes:
    """Ask the API server once.

    Args:
        kubeconfig: the file to use; None is the default file, or in a pod its service account.

    Raises:
        SettingsError: there are no usable credentials, or no node has published its links.
        ApiError: the API server refused, or could not be reached.
    """
    found = live_nodes(asyncio.run(_list_nodes(kubeconfig)))
    if not found.machines:
        raise SettingsError(
            f"no node of the cluster has a usable annotation {TOPOLOGY_ANNOTATION}: is the agent there?"
        )
    return found


def live_nodes(nodes: Iterable[Mapping[str, Any]]) -> LiveNodes:
    """The GPU nodes among these, given in the API server's JSON form.

    All GPUs of a node count, whoever has them now and whether they are cordoned or lost: what is asked is what the
    machines could do.
    """
    machines: dict[str, NodeTopology] = {}
    unknown: dict[str, str] = {}
    for node in nodes:
        name, annotations = node["metadata"]["name"], node["metadata"].get("annotations") or {}
        if (text := annotations.get(TOPOLOGY_ANNOTATION)) is None:
            if node.get("status", {}).get("allocatable", {}).get(GPU_RESOURCE, "0") != "0":
                unknown[name] = f"has no annotation {TOPOLOGY_ANNOTATION}"
            continue
        try:
            topology = decode_topology(text)
        except ContractError as error:
            unknown[name] = str(error)
            continue
        if len(topology):
            machines[name] = topology
    return LiveNodes(machines, unknown)


async def _list_nodes(kubeconfig: Path | None) -> list[dict[str, Any]]:
    async with await Cluster.connect(kubeconfig) as cluster:
        return [node async for page, _ in cluster.pages(Resource.NODES) for node in page]
