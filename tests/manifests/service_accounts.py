"""Connections to the API server as the service accounts of the manifests."""

import ssl

import httpx
import yaml

from tests.control_plane.cluster import ControlPlane

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


def connect_as(control_plane: ControlPlane, namespace: str, name: str) -> httpx.Client:
    """A connection with a token of an existing service account; to be closed by the caller."""
    config = yaml.safe_load(control_plane.service_account_kubeconfig(namespace, name).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    return httpx.Client(
        base_url=cluster["server"],
        verify=ssl.create_default_context(cafile=cluster["certificate-authority"]),
        headers={"Authorization": f"Bearer {user['token']}"},
        trust_env=False,
    )
