"""Counts and tells what became of decisions: what pods got, whether it was expected, and how nodes stand."""

from dataclasses import asdict
from typing import Final

import structlog

from extender import pod_story
from extender.failing import FailingNodes
from extender.findings import Allotment, Evidence, Finding
from extender.gauges import GpuCollector
from extender.ledger import Ledger
from extender.metrics import GIGA, Metrics
from extender.outcomes import FailureReason
from extender.placed import Placed
from extender.pods import PodIdentity
from extender.reports import Knowledge

_SURPRISES: Final[dict[type[Finding], str]] = {
    Allotment: "a pod got other GPUs than expected",
    Evidence: "a pod's status names other GPUs than the agent reports",
}


class Observer:
    """Whom the ledger tells of its findings, and the decisions of pods that arrived.

    Args:
        ledger: the books; their state is shown as gauges.
        metrics: counts.
        failing: the nodes where GPU pods fail; how they stand is shown too.
        teller: tells people about pods.
    """

    def __init__(self, ledger: Ledger, metrics: Metrics, failing: FailingNodes, teller: pod_story.Teller) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._teller = teller
        self._log = structlog.get_logger("extender")
        metrics.watch("gpu_scheduler_nodes", "Nodes, by what is known of them.", "knowledge", self._knowledge)
        metrics.watch(
            "gpu_scheduler_node_standings", "GPU nodes, by how GPU pods fare there.", "standing", failing.standings
        )
        metrics.tally(
            "gpu_scheduler_node_failures",
            "GPU pods that failed and count against their node, by reason.",
            "reason",
            lambda: {reason.value: failing.counted[reason] for reason in FailureReason},
        )
        metrics.register(GpuCollector(ledger))

    def hear(self, finding: Finding) -> None:
        """Count what became of what was expected, and log what did not come true."""
        outcome = "agree" if finding.agrees else "differ"
        match finding:
            case Allotment(basis=basis):
                self._metrics.allotments.labels(basis, outcome).inc()
            case Evidence():
                self._metrics.evidence.labels(outcome).inc()
        if not finding.agrees:
            self._log.warning(_SURPRISES[type(finding)], **asdict(finding))

    def note_arrival(self, pod: PodIdentity, placed: Placed) -> None:
        """Count what a pod of several GPUs got, log it, and let the pod tell."""
        self._metrics.placements.labels(placed.quality).inc()
        if placed.bandwidth_gbps is not None:
            self._metrics.bandwidth.observe(placed.bandwidth_gbps * GIGA)
        self._log.info("placed", pod=pod.key, quality=placed.quality, **asdict(placed))
        self._teller.tell_once(pod, pod_story.placed(placed))

    def _knowledge(self) -> dict[str, int]:
        """Every kind of knowledge, so that one that no node has at present shows as 0."""
        nodes = self._ledger.knowledge()
        return {kind.value: nodes[kind] for kind in Knowledge if kind is not Knowledge.UNSEEN}
