"""What the extender counts and measures, for Prometheus. `docs/metrics.md` says what each is good for."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS: Final = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Bounds of the duration histogram: fine where a verb should be, up to kube-scheduler's own time-out."""

GIGA: Final = 1_000_000_000
"""Bytes in a GB, as in GB/s."""
BANDWIDTHS: Final = tuple(
    GIGA * gbps for gbps in (5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 400, 600, 900)
)
"""Bounds of the bandwidth histogram, in bytes per second: from PCIe across sockets to NVSwitch."""

Gauges = Callable[[], Mapping[str, float]]
"""Label value to the present value, asked for when Prometheus reads."""

Samples = Callable[[], Iterable[tuple[Sequence[str], float]]]
"""Label values to the present value, likewise."""
Family: TypeAlias = type[GaugeMetricFamily] | type[CounterMetricFamily]


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
        self.filtered = Counter(
            "gpu_scheduler_filtered_pods",
            "Answers to filter about pods that ask for GPUs: passed (some node can serve it) or refused (none can).",
            ["outcome"],
            registry=self._registry,
        )
        self.placements = Counter(
            "gpu_scheduler_placements",
            "Pods of several GPUs that were seen bound, by how their bandwidth compares with the best that such a "
            "machine gives when it is empty: best, half (at least half of it), less, or unknown.",
            ["quality"],
            registry=self._registry,
        )
        self.bandwidth = Histogram(
            "gpu_scheduler_placement_bandwidth_bytes_per_second",
            "Bandwidth of the sets that such pods got or are expected to get, where it is known.",
            buckets=BANDWIDTHS,
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
        self._look_up(GaugeMetricFamily, name, documentation, [label], _singly(values))

    def tally(self, name: str, documentation: str, label: str, values: Gauges) -> None:
        """The same for values that only grow."""
        self._look_up(CounterMetricFamily, name, documentation, [label], _singly(values))

    def tally_pairs(self, name: str, documentation: str, labels: tuple[str, str], values: Samples) -> None:
        """The same with two labels."""
        self._look_up(CounterMetricFamily, name, documentation, labels, values)

    def register(self, collector: Collector) -> None:
        """Add metrics that are found together."""
        self._registry.register(collector)

    def describe(self, version: str) -> None:
        """Say once which program this is, and let the process's own figures be read as well."""
        build = Info("gpu_scheduler_build", "The extender's version, and that of Python.", registry=self._registry)
        build.info({"version": version, "python": platform.python_version()})
        ProcessCollector(registry=self._registry)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _look_up(self, family: Family, name: str, documentation: str, labels: Sequence[str], values: Samples) -> None:
        self._registry.register(_Lookup(family, name, documentation, labels, values))


class _Lookup(Collector):
    def __init__(self, family: Family, name: str, documentation: str, labels: Sequence[str], values: Samples) -> None:
        self._family = family
        self._name, self._documentation, self._labels, self._values = name, documentation, labels, values

    def collect(self) -> Iterable[Metric]:
        family = self._family(self._name, self._documentation, labels=self._labels)
        for labels, value in self._values():
            family.add_metric(labels, value)
        yield family


def _singly(values: Gauges) -> Samples:
    return lambda: (((label,), value) for label, value in values().items())
