"""Hears the cordon annotation out of a watch of nodes, on its way to the publisher."""

from collections.abc import Callable, Mapping
from typing import Any

from gpu_topology.cordon import CORDON_ANNOTATION
from kubernetes_api import Handler


class CordonWatch:
    """A handler of a watch of one node that tells of its cordon, then hands on to another handler."""

    def __init__(self, node: str, tell: Callable[[str], None], handler: Handler) -> None:
        self._node = node
        self._tell = tell
        self._handler = handler
        self._last: str | None = None

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """The nodes that exist."""
        for node in objects:
            self._hear(node)
        self._handler.replaced(objects)

    def changed(self, obj: dict[str, Any]) -> None:
        """A node is new or has changed."""
        self._hear(obj)
        self._handler.changed(obj)

    def deleted(self, obj: dict[str, Any]) -> None:
        """A node is gone. Its cordon stands until there is another node of the name."""
        self._handler.deleted(obj)

    def _hear(self, node: Mapping[str, Any]) -> None:
        cordon = cordon_of(node)
        if node["metadata"]["name"] == self._node and cordon != self._last:
            self._last = cordon
            self._tell(cordon)


def cordon_of(node: Mapping[str, Any]) -> str:
    """The cordon annotation of a node; empty where it has none."""
    annotations = node["metadata"].get("annotations") or {}
    return str(annotations.get(CORDON_ANNOTATION, ""))
