"""Where the time of a scheduler goes, by its own metrics, the extender's, and the kernel's books."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

ALGORITHM: Final = "scheduler_scheduling_algorithm_duration_seconds_sum"
"""The serial part of a scheduling attempt: from the pod to its node, the extender's filter and prioritize included."""
POINTS: Final = "scheduler_framework_extension_point_duration_seconds_sum"
"""kube-scheduler's own plugins, by extension point."""
VERBS: Final = "gpu_scheduler_request_duration_seconds_sum"
"""Ours, by verb."""

OWN_FILTER: Final = ("PreFilter", "Filter")
OWN_SCORE: Final = ("PreScore", "Score")
BINDING: Final = ("Bind",)


def scheduler_seconds(page: str) -> dict[str, float]:
    """What kube-scheduler has spent since its start, in seconds.

    - `own_filter`, `own_score`: its plugins.
    - `extender_calls`: the rest of its decisions. With an extender that is nearly all waiting for it, and writing and
      reading what is sent to and fro.
    - `own_bind`: writing bindings, beside the decisions about later pods: of several at a time the sum.

    Args:
        page: its metrics.
    """
    points: dict[str, float] = {}
    algorithm = 0.0
    for name, labels, value in _samples(page):
        if name == ALGORITHM:
            algorithm += value
        elif name == POINTS:
            points[labels["extension_point"]] = points.get(labels["extension_point"], 0.0) + value
    own_filter, own_score, own_bind = (
        sum(points.get(point, 0.0) for point in group) for group in (OWN_FILTER, OWN_SCORE, BINDING)
    )
    return {
        "own_filter": own_filter,
        "own_score": own_score,
        "extender_calls": algorithm - own_filter - own_score,
        "own_bind": own_bind,
    }


def extender_seconds(page: str) -> dict[str, float]:
    """What our extender has spent since its start between a request's last byte and its answer, in seconds, by verb.

    Args:
        page: its metrics.
    """
    return {f"extender_{labels['verb']}": value for name, labels, value in _samples(page) if name == VERBS}


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used since its start (Linux, proc(5)); 0 where there is no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    # The name before the last parenthesis may hold blanks.
    fields = stat.read_text().rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _samples(page: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
