"""What is looked up of the books, the watches and the events when Prometheus reads."""

from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extender.evicting import Evictor
from extender.gpu_loss import Outcome as EvictionOutcome
from extender.ledger import Ledger
from extender.metrics import Metrics
from extender.pod_events import Outcome, PodEvents
from extender.stock import GpuUse
from extender.tls import Certificates
from kubernetes_api import Reflector, Restart

_KIND = ("interconnect", "model")


class GpuCollector(Collector):
    """How the GPUs stand, by kind of machine: the books are gone through once for all of these metrics."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now."""
        gpus = GaugeMetricFamily(
            "gpu_scheduler_gpus",
            "GPUs of nodes whose GPUs are known, by what they are doing.",
            labels=(*_KIND, "state"),
        )
        largest = GaugeMetricFamily(
            "gpu_scheduler_largest_free_set_gpus",
            "The most GPUs that one pod could get, all on one node.",
            labels=_KIND,
        )
        fragmented = GaugeMetricFamily(
            "gpu_scheduler_fragmented_gpus",
            "Free GPUs that the average request cannot use, because too few are free on their node.",
            labels=_KIND,
        )
        for kind, stock in self._ledger.stock().items():
            for state in GpuUse:
                gpus.add_metric((*kind, state), stock.gpus[state])
            largest.add_metric(kind, stock.largest_set)
            fragmented.add_metric(kind, stock.fragmented)
        return gpus, largest, fragmented


def watch_reflectors(metrics: Metrics, reflectors: Mapping[str, Reflector]) -> None:
    """Show how well each resource is followed."""
    metrics.watch(
        "gpu_scheduler_watch_synced",
        "1 once all objects of a resource have been listed.",
        "resource",
        lambda: {name: int(reflector.synced) for name, reflector in reflectors.items()},
    )
    metrics.watch(
        "gpu_scheduler_watch_silence_seconds",
        "Since when nothing has been heard of a resource: no list, change, bookmark, nor end of a watch as agreed.",
        "resource",
        lambda: {
            name: seconds
            for name, reflector in reflectors.items()
            if (seconds := reflector.silent_seconds()) is not None
        },
    )
    metrics.tally_pairs(
        "gpu_scheduler_watch_restarts",
        "Lists and watches that were begun again, by reason: ended (as agreed), broken, expired or failed.",
        ("resource", "reason"),
        lambda: (
            ((name, reason), reflector.restarts[reason]) for name, reflector in reflectors.items() for reason in Restart
        ),
    )


def watch_pod_events(metrics: Metrics, events: PodEvents) -> None:
    """Show what becomes of the events about pods."""
    metrics.tally(
        "gpu_scheduler_pod_events",
        "Events about pods: written, dropped (too many were waiting) or failed (the API server did not take it).",
        "outcome",
        lambda: {outcome: events.counted[outcome] for outcome in Outcome},
    )


def watch_evictions(metrics: Metrics, evictor: Evictor) -> None:
    """Show what came of the tries to evict pods that hold lost GPUs."""
    metrics.tally(
        "gpu_scheduler_evictions",
        "Pods that hold lost GPUs and ask to be evicted, by what came of each try.",
        "outcome",
        lambda: {outcome.value: evictor.counted[outcome] for outcome in EvictionOutcome},
    )


def watch_certificates(metrics: Metrics, certificates: Certificates) -> None:
    """Show what became of changed certificates, and of connections without one that is trusted."""
    metrics.tally(
        "gpu_scheduler_certificate_reloads",
        "Changed certificate files that were taken up (replaced), or could not be used (failed: tried again every "
        "5 seconds).",
        "outcome",
        lambda: certificates.reloads,
    )
    metrics.tally(
        "gpu_scheduler_refused_connections",
        "Connections to the verbs that failed for want of a certificate that both sides trust, by OpenSSL's reason.",
        "reason",
        lambda: certificates.refused,
    )
