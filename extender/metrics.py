"""What the extender counts and measures, for Prometheus."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Bounds of the duration histogram: fine where a verb should be, up to kube-scheduler's own time-out."""

Gauges = Callable[[], Mapping[str, int]]
"""Label value to the present value, asked for when Prometheus reads."""


class Metrics:
    """The metrics of one extender, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "gpu_scheduler_request_duration_seconds",
            "Time from a request's last byte to its answer.",
            ["verb"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.requests = Counter(
            "gpu_scheduler_requests",
            "Requests, by how they were answered: ok, error (the pod's annotations or the books are at fault), "
            "malformed (a field), unreadable (the JSON).",
            ["verb", "result"],
            registry=self._registry,
        )
        self.candidates = Counter(
            "gpu_scheduler_candidates",
            "Nodes in requests.",
            ["verb"],
            registry=self._registry,
        )
        self.refusals = Counter(
            "gpu_scheduler_refusals",
            "Nodes that filter refused, by kind of reason.",
            ["kind"],
            registry=self._registry,
        )
        self.victims = Counter(
            "gpu_scheduler_victims",
            "Pods that kube-scheduler proposed to evict: kept, or spared because their GPUs would not help.",
            ["decision"],
            registry=self._registry,
        )
        self.allotments = Counter(
            "gpu_scheduler_allotments",
            "Pods whose GPUs were shown by an agent after they had been expected, by what that rested on (recorded, "
            "enforced or predicted) and whether it came true: agree or differ.",
            ["basis", "outcome"],
            registry=self._registry,
        )
        self.evidence = Counter(
            "gpu_scheduler_witnesses",
            "Pods whose own status names their GPUs, by whether the agent reports the same: agree or differ.",
            ["outcome"],
            registry=self._registry,
        )

    def watch(self, name: str, documentation: str, label: str, values: Gauges) -> None:
        """Add a gauge with one label, whose values are looked up when Prometheus reads."""
        self._registry.register(_Lookup(name, documentation, label, values))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _Lookup(Collector):
    def __init__(self, name: str, documentation: str, label: str, values: Gauges) -> None:
        self._name, self._documentation, self._label, self._values = name, documentation, label, values

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._documentation, labels=[self._label])
        for label, value in self._values().items():
            family.add_metric([label], value)
        yield family
