"""A cluster to look at: some machines in every state, pods on them, and pods that wait."""

from typing import Any

import orjson

from benchmarks.synthetic_cluster import published_nodes
from extender.failures import Standing, Verdict
from extender.ledger import Ledger
from extender.service import Service
from gpu_topology.contract import Allocation, Holder
from gpu_topology.cordon import CORDONED
from gpu_topology.slices import SlicePool
from tests.extender.builders import bare_node, bridged, node, plain, pod, switched

MARKUP = "<img src=x onerror=alert(1)>"
"""A name that no API server takes; the text of an annotation may hold it all the same."""
STALE = "the driver said <script>alert(2)</script>"


def some_nodes() -> list[dict[str, Any]]:
    """Nine nodes of three models."""
    split = [Holder("team/split", "c0", (0, 2)), Holder("speech/whole", "c0", (4, 5, 6, 7))]
    return [
        node("broken", plain(4), unhealthy={1: "XID 79: the GPU has fallen off the bus", 3: CORDONED}),
        node("busy", switched(8), held=[Holder("speech/all", "c0", tuple(range(8)))]),
        node("cut", plain(4), slices=[SlicePool("nvidia.com/mig-1g.10gb", 0, 7, 3)]),
        node("empty", switched(8)),
        node("failing", switched(8)),
        node("odd", bridged(4), held=[Holder(MARKUP, "c0", (0, 1))]),
        node("pairs", bridged(8), held=split, allocation=Allocation.VENDOR),
        bare_node("silent"),
        node("stale", plain(4), stale=STALE),
    ]


def some_pods() -> list[dict[str, Any]]:
    """Two that the agents have seen, and one that they have not."""
    return [pod("split", 2, on="pairs"), pod("fresh", 2, on="empty"), pod("elsewhere", 1, on="silent")]


def ledger() -> Ledger:
    """The books of these."""
    books = Ledger()
    books.replace_nodes(some_nodes())
    books.replace_pods(some_pods())
    books.standings = {"failing": Verdict(Standing.SUSPECT, "3 GPU pods of 2 owners failed here within 10 minutes")}
    return books


def large_ledger(nodes: int) -> Ledger:
    """The books of many."""
    books = Ledger()
    books.replace_nodes(published_nodes(nodes))
    return books


def service_of(books: Ledger) -> Service:
    """An extender that has been asked about a pod that waits, and about one that is bound by now."""
    service = Service(books)
    for asking in (pod("waits", 16), pod("split", 2)):
        service.filter(orjson.dumps({"Pod": asking, "NodeNames": books.nodes}))
    return service
