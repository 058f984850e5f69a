"""The cordon is heard before the publisher hears of the node, and only when it changes."""

from typing import Any

from gpu_topology.cordon import CORDON_ANNOTATION
from tests.topology_agent.fake_cluster import node
from topology_agent.cordon import CordonWatch, cordon_of

CORDONED = node("n", {CORDON_ANNOTATION: "3"})


class Heard(list[str]):
    """What was heard, in order, by the agent and by the handler behind the watch."""

    def watch(self) -> CordonWatch:
        return CordonWatch("n", lambda text: self.append(f"cordon {text!r}"), self)

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        self.append(f"{len(objects)} nodes")

    def changed(self, obj: dict[str, Any]) -> None:
        self.append(f"changed {obj['metadata']['name']}")

    def deleted(self, obj: dict[str, Any]) -> None:
        self.append(f"deleted {obj['metadata']['name']}")


def test_the_cordon_comes_before_the_node() -> None:
    heard = Heard()
    heard.watch().replaced([CORDONED])
    assert heard == ["cordon '3'", "1 nodes"]


def test_only_a_change_of_the_cordon_is_told() -> None:
    heard = Heard()
    watch = heard.watch()
    watch.replaced([node("n")])
    for seen in (node("n"), CORDONED, CORDONED, node("n")):
        watch.changed(seen)
    assert [entry for entry in heard if entry.startswith("cordon")] == ["cordon ''", "cordon '3'", "cordon ''"]
    assert heard.count("changed n") == 4


def test_the_cordon_of_a_deleted_node_stands_and_other_nodes_do_not_matter() -> None:
    heard = Heard()
    watch = heard.watch()
    watch.changed(CORDONED)
    watch.changed(node("other"))
    watch.deleted(CORDONED)
    assert heard == ["cordon '3'", "changed n", "changed other", "deleted n"]


def test_a_node_without_annotations_has_no_cordon() -> None:
    assert cordon_of({"metadata": {"name": "n"}}) == ""
