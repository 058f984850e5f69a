"""Clusters for the commands that show one, in books made by hand."""

import orjson

from extender.failures import Standing, Verdict
from extender.ledger import Ledger
from extender.overview import overview_of
from gpu_topology.contract import Holder
from gpu_topology.cordon import CORDONED
from gpu_topology.slices import SlicePool
from tests.extender.builders import bare_node, bridged, holder, node, pod, switched

HOSTILE = "\x1b[31mred\x1b[0m[bold]\n\u202e\x07"
"""What somebody may have written where a text is shown."""


def mixed() -> Ledger:
    """A node of each sort: switched and half held, bridged and troubled, cut, unknown, without a GPU."""
    ledger = Ledger()
    ledger.replace_nodes(
        [
            node("switch", switched(8), held=[holder("trainer", [0, 1, 2, 3])]),
            node("bridge", bridged(4), held=[holder("apart", [0, 2])], unhealthy={1: "XID 79", 3: CORDONED}),
            node("cut", switched(8), slices=(SlicePool("nvidia.com/mig-1g.10gb", 0, 7, 5),)),
            bare_node("silent", gpus=4),
            bare_node("office", gpus=0),
        ]
    )
    ledger.replace_pods(
        [
            pod("trainer", 4, on="switch"),
            pod("next", 2, on="switch"),
            pod("apart", 2, on="bridge"),
            pod("hidden", 3, on="silent"),
        ]
    )
    ledger.standings = {"bridge": Verdict(Standing.SUSPECT, "3 GPU pods failed here")}
    return ledger


def hostile() -> Ledger:
    """A node of which somebody with the right to write its annotations says bad things."""
    held = [Holder(f"team/{HOSTILE}", HOSTILE, (0, 1))]
    ledger = Ledger()
    ledger.apply_node(node("victim", switched(4), held=held, unhealthy={3: HOSTILE}))
    ledger.apply_node(node("stale", switched(4), stale=HOSTILE))
    return ledger


def overview(ledger: Ledger) -> bytes:
    """What an extender with these books answers to GET /v1/cluster."""
    return orjson.dumps(overview_of(ledger))
