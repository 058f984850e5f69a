"""A short form of the benchmark `memory`, and that the cluster it shows is one that could exist."""

from collections import Counter
from typing import Any

import pytest

from benchmarks.memory import measure
from benchmarks.memory_cluster import ChangingCluster, rendered
from extender.ledger import Ledger
from gpu_topology.contract import STATE_ANNOTATION, decode_state
from gpu_topology.errors import SettingsError


def test_an_extender_of_fifty_nodes_is_measured() -> None:
    """That its books know every node, /readyz and the changes' arrival are waited for and checked by the benchmark."""
    figures = measure(nodes=50, pods=500, gpu_pods=400, changes=300)
    assert list(figures) == [
        "nodes",
        "pods",
        "gpu_pods",
        "resident_mib",
        "peak_mib",
        "sync_seconds",
        "resident_after_churn_mib",
    ]
    assert (figures["nodes"], figures["pods"], figures["gpu_pods"]) == (50, 500, 400)
    assert 0 < figures["resident_mib"] <= figures["peak_mib"]
    assert 0 < figures["resident_after_churn_mib"] <= figures["peak_mib"]


def objects(cluster: ChangingCluster) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All nodes and all pods, as they are listed."""
    nodes = [rendered(row, version) for version, row in cluster.nodes.values()]
    return nodes, [rendered(row, version) for version, row in cluster.pods.values()]


@pytest.mark.parametrize("changes", [0, 6 * 50])
def test_agents_and_pods_agree_before_the_changes_and_after(changes: int) -> None:
    """Every GPU pod is reported as the holder of one GPU on its node, and nobody else is."""
    cluster = ChangingCluster(nodes=7, pods=50, gpu_pods=50)
    mark = cluster.change(changes) if changes else None
    nodes, pods = objects(cluster)
    reported = {
        (node["metadata"]["name"], holder.pod): len(holder.gpus)
        for node in nodes
        for holder in decode_state(node["metadata"]["annotations"][STATE_ANNOTATION]).held
    }
    bound = [(pod["spec"]["nodeName"], f"{pod['metadata']['namespace']}/{pod['metadata']['name']}") for pod in pods]
    assert Counter(key for key in bound if mark is None or key[1] != mark.pod) == Counter(reported)


def test_the_books_of_a_changed_cluster_are_the_same_from_its_list_and_from_its_changes() -> None:
    """Each change is sent, and none but what happened."""
    cluster = ChangingCluster(nodes=7, pods=60, gpu_pods=50)
    watched, listed = Ledger(), Ledger()
    nodes, pods = objects(cluster)
    watched.replace_nodes(nodes)
    watched.replace_pods(pods)
    cluster.change(200)
    for change in cluster.node_changes:
        watched.apply_node(rendered(change.row, change.version))
    for change in cluster.pod_changes:
        obj = rendered(change.row, change.version)
        if change.kind == "DELETED":
            metadata = obj["metadata"]
            watched.forget_pod(f"{metadata['namespace']}/{metadata['name']}", metadata["uid"])
        else:
            watched.apply_pod(obj)
    nodes, pods = objects(cluster)
    listed.replace_nodes(nodes)
    listed.replace_pods(pods)
    assert len(cluster.node_changes) + len(cluster.pod_changes) == 200 + 2
    for name in listed.nodes:
        assert watched.pods_on(name) == listed.pods_on(name)


def test_more_pods_than_gpus_are_refused() -> None:
    """A GPU that two pods hold would be no cluster."""
    with pytest.raises(SettingsError, match="61 GPU pods: there are 61 pods, and 60 GPUs"):
        ChangingCluster(nodes=7, pods=61, gpu_pods=61)
