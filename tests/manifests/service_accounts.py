"""Connections to the API server as the service accounts of the manifests."""

import ssl
from collections.abc import Callable
from typing import Any

import httpx
import yaml

from tests.control_plane import objects
from tests.control_plane.cluster import ControlPlane

AGENT = "agent"
AGENT_NAMESPACE = "gpu-topology-agent"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}

Account = Callable[..., httpx.Client]
"""Connects as a service account of the manifests, given its namespace, its name, and perhaps one of its pods."""


def connect_as(control_plane: ControlPlane, namespace: str, name: str, *, pod: str | None = None) -> httpx.Client:
    """A connection with a token of an existing service account, of one of its pods if given; the caller closes it."""
    config = yaml.safe_load(control_plane.service_account_kubeconfig(namespace, name, pod=pod).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    return httpx.Client(
        base_url=cluster["server"],
        verify=ssl.create_default_context(cafile=cluster["certificate-authority"]),
        headers={"Authorization": f"Bearer {user['token']}"},
        trust_env=False,
    )


def agent_pod(name: str, node: str | None) -> dict[str, Any]:
    """A pod of the agent's service account, as the DaemonSet makes one: bound to a node, or, with None, to none yet."""
    pod = objects.pod(name, namespace=AGENT_NAMESPACE)
    pod["spec"] |= {"serviceAccountName": AGENT} | ({} if node is None else {"nodeName": node})
    return pod
