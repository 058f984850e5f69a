"""How long the extender takes to answer Prometheus: one step of its event loop, in which it answers no verb."""

import gc
import statistics
import time
from typing import Final

from rich.table import Table

from benchmarks.synthetic_cluster import published_nodes
from extender.ledger import Ledger
from extender.service import Service

NODES: Final = 5000
WARM_UP: Final = 3
TIMES: Final = 50


def measure(nodes: int = NODES) -> dict[str, float]:
    """Median and longest time in milliseconds, and the size of the answer in bytes, of a cluster of so many nodes."""
    ledger = Ledger()
    ledger.replace_nodes(published_nodes(nodes))
    metrics = Service(ledger).metrics
    gc.collect()
    gc.freeze()  # as the shipped extender does once its books are complete
    taken = []
    size = 0
    for _ in range(WARM_UP + TIMES):
        begun = time.perf_counter()
        size = len(metrics.exposition())
        taken.append(1000 * (time.perf_counter() - begun))
    timed = taken[WARM_UP:]
    return {"nodes": nodes, "median_ms": statistics.median(timed), "longest_ms": max(timed), "bytes": size}


def table(figures: dict[str, float]) -> Table:
    """The figures for a person."""
    result = Table("nodes", "median ms", "longest ms", "bytes", title="GET /metrics")
    result.add_row(
        f"{figures['nodes']:g}", f"{figures['median_ms']:.1f}", f"{figures['longest_ms']:.1f}", f"{figures['bytes']:g}"
    )
    return result
