"""From the watch into the books."""

from typing import Any

import pytest

from extender.feeds import NodeFeed, PodFeed, trimmed_node, trimmed_pod
from extender.groups import Situation
from extender.ledger import Ledger
from extender.pods import bound_pod_of
from tests.extender.builders import node, plain, pod


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def free_mask(ledger: Ledger) -> int:
    """The free GPUs of the node "n"."""
    book = ledger.book("n")
    assert book is not None
    assert isinstance(book.group, Situation)
    return book.group.free


def test_nodes_come_change_and_go(ledger: Ledger) -> None:
    feed = NodeFeed(ledger)
    feed.replaced([node("n", plain(4))])
    assert free_mask(ledger) == 0b1111
    feed.changed(node("n", plain(4), free=[0]))
    assert free_mask(ledger) == 0b0001
    feed.deleted(node("n", plain(4)))
    assert ledger.book("n") is None


def test_pods_come_change_and_go(ledger: Ledger) -> None:
    NodeFeed(ledger).replaced([node("n", plain(4))])
    feed = PodFeed(ledger)
    feed.replaced([pod("a", 1, on="n")])
    assert free_mask(ledger) == 0b1110
    feed.changed(pod("b", 2, on="n"))
    assert free_mask(ledger) == 0b1000
    feed.changed(pod("b", 2, on="n", phase="Succeeded"))
    feed.deleted(pod("a", 1, on="n"))
    assert free_mask(ledger) == 0b1111


def test_a_trimmed_node_is_read_like_the_whole_one(ledger: Ledger) -> None:
    whole: dict[str, Any] = node("n", plain(4), free=[1, 2])
    whole["metadata"]["annotations"]["volumes.kubernetes.io/controller-managed"] = "true"
    whole["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    whole["status"] |= {"images": [{"names": ["a", "b"]}], "capacity": {"cpu": "96"}}
    trimmed = trimmed_node(whole)
    assert "images" not in trimmed["status"]
    assert trimmed == trimmed_node(node("n", plain(4), free=[1, 2]))
    ledger.apply_node(trimmed)
    assert free_mask(ledger) == 0b0110


def test_a_node_without_annotations_and_status_can_be_trimmed() -> None:
    assert trimmed_node({"metadata": {"name": "n"}}) == {
        "metadata": {"name": "n", "annotations": {}},
        "status": {"allocatable": {}},
    }


def test_a_trimmed_pod_is_read_like_the_whole_one() -> None:
    whole = pod("a", [1, 2], on="n", min_bandwidth_gbps="100")
    whole["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    whole["spec"]["containers"][0]["env"] = [{"name": "A", "value": "B"}]
    trimmed = trimmed_pod(whole)
    assert "env" not in trimmed["spec"]["containers"][0]
    assert bound_pod_of(trimmed) == bound_pod_of(whole) is not None


def test_of_a_pod_without_gpus_only_its_identity_is_left() -> None:
    identity = {"namespace": "team", "name": "web", "uid": "uid-of-web"}
    assert trimmed_pod(pod("web", 0, on="n")) == {"metadata": identity}


def test_a_pod_that_has_ended_is_still_forgotten_by_its_trimmed_form(ledger: Ledger) -> None:
    NodeFeed(ledger).replaced([node("n", plain(4))])
    feed = PodFeed(ledger)
    feed.changed(trimmed_pod(pod("a", 4, on="n")))
    assert free_mask(ledger) == 0
    feed.changed(trimmed_pod(pod("a", 4, on="n", phase="Failed")))
    assert free_mask(ledger) == 0b1111
