"""The metrics: each is documented and named as Prometheus wants it, and the documentation speaks of no other."""

import re
from collections import Counter
from typing import Any, Final, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extender.evicting import Evictor
from extender.failing import FailingNodes
from extender.feeds import NodeFeed
from extender.gauges import watch_certificates, watch_evictions
from extender.ledger import Ledger
from extender.placed import Quality
from extender.pod_events import Outcome, PodEvents
from extender.serve import _service
from extender.service import Service
from extender.settings import Settings
from extender.stock import GpuUse
from extender.tls import Certificates
from kubernetes_api import Cluster, Reflector, Resource, Restart
from tests.extender.builders import bridged, node, switched
from tests.extender.fake_event_api import FakeEventApi
from tests.manifests.files import REPOSITORY

PAGE: Final = (REPOSITORY / "docs" / "metrics.md").read_text()
ROW: Final = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([\w, ]*)\| (.+) \| `(.+)` \|$", re.MULTILINE)
NAME: Final = re.compile(r"\b(?:gpu_scheduler|process)_\w+")
SUFFIXES: Final = ("_bucket", "_count", "_sum")
UNITS: Final = {"seconds", "bytes", "bytes_per_second"}
NOT_BASE_UNITS: Final = {
    "milliseconds",
    "ms",
    "microseconds",
    "minutes",
    "hours",
    "days",
    "kib",
    "mib",
    "gib",
    "mb",
    "gb",
    "gbps",
    "percent",
}


class Row(NamedTuple):
    """A metric as it is documented."""

    kind: str
    labels: frozenset[str]
    query: str


DOCUMENTED: Final = {
    name: Row(kind, frozenset(filter(None, labels.strip().split(", "))), query)
    for name, kind, labels, _, query in ROW.findall(PAGE)
}


@pytest.fixture(scope="module")
def service() -> Service:
    """A service as the process has it, with all that it shows of watches and events."""
    ledger = Ledger()
    ledger.replace_nodes([node("a", switched(8)), node("b", bridged(4))])
    nobody: Any = Cluster.__new__(Cluster)
    reflectors = {"nodes": Reflector(nobody, Resource.NODES, NodeFeed(ledger))}
    reflectors["nodes"]._heard_at = 0.0
    events = PodEvents(FakeEventApi(), "replica-0")
    served = _service(
        Settings(),
        ledger,
        reflectors=reflectors,
        failing=FailingNodes(ledger),
        binder=None,
        pod_events=events,
    )
    certificates = Certificates.__new__(Certificates)
    certificates.reloads, certificates.refused = Counter(failed=1), Counter(UNKNOWN=1)
    watch_certificates(served.metrics, certificates)
    evictor = Evictor.__new__(Evictor)
    evictor.counted = Counter()
    watch_evictions(served.metrics, evictor)
    return served


@pytest.fixture(scope="module")
def exposed(service: Service) -> dict[str, str]:
    """Name to type. What the library adds about when each counter was made is turned off in the process."""
    types = re.findall(r"^# TYPE (\w+) (\w+)$", service.metrics.exposition().decode(), re.MULTILINE)
    return {name: kind for name, kind in types if not name.endswith("_created")}


def labels_of(service: Service) -> dict[str, frozenset[str]]:
    """The labels of each metric: as it was declared, or as it is looked up."""
    declared = {
        family.name: frozenset(collector._labelnames)
        for collector in service.metrics._registry._collector_to_names
        if hasattr(collector, "_labelnames")
        for family in collector.collect()
    }
    looked_up = {
        family.name: frozenset(family.samples[0].labels)
        for family in service.metrics._registry.collect()
        if family.name not in declared and family.samples
    }
    return declared | looked_up


def test_every_metric_is_documented_and_no_other(exposed: dict[str, str]) -> None:
    assert {name: row.kind for name, row in DOCUMENTED.items()} == exposed


def test_the_labels_are_documented(service: Service) -> None:
    labels = labels_of(service) | {"gpu_scheduler_build_info": frozenset({"version", "python"})}
    shown = {name: labels.get(name, labels.get(name.removesuffix("_total"))) for name in DOCUMENTED}
    assert shown == {name: row.labels for name, row in DOCUMENTED.items()}


def test_every_metric_has_a_query_that_asks_for_what_there_is() -> None:
    for name, row in DOCUMENTED.items():
        asked = NAME.findall(row.query)
        plain = {re.sub("|".join(f"{suffix}$" for suffix in SUFFIXES), "", each) for each in asked}
        assert name in plain
        assert plain <= DOCUMENTED.keys()
        assert row.query.count("(") == row.query.count(")")


def test_the_page_speaks_of_no_metric_that_does_not_exist() -> None:
    spoken = {re.sub("|".join(f"{suffix}$" for suffix in SUFFIXES), "", name) for name in NAME.findall(PAGE)}
    assert spoken <= DOCUMENTED.keys()


@pytest.mark.parametrize("choices", [Quality, GpuUse])
def test_every_class_of_what_is_counted_is_documented(choices: type[Quality | GpuUse]) -> None:
    assert all(f"| `{choice}` |" in PAGE for choice in choices)


@pytest.mark.parametrize("choices", [Restart, Outcome])
def test_every_reason_is_documented(choices: type[Restart | Outcome]) -> None:
    assert all(f"`{choice}`" in PAGE for choice in choices)


def test_names_follow_prometheus_conventions(exposed: dict[str, str]) -> None:
    """One application prefix, base units in the plural at the end, `_total` for counters and for nothing else."""
    for name, kind in exposed.items():
        assert re.fullmatch(r"(gpu_scheduler|process)(_[a-z]+)+", name)
        assert (kind == "counter") == name.endswith("_total")
        assert not name.endswith(SUFFIXES)
        assert NOT_BASE_UNITS.isdisjoint(name.split("_"))
        if kind == "histogram":
            assert any(name.endswith(f"_{unit}") for unit in UNITS)


def test_every_metric_says_what_it_is_and_has_no_label_that_prometheus_sets_itself(service: Service) -> None:
    """The client's own parser reads all of it."""
    families = list(text_string_to_metric_families(service.metrics.exposition().decode()))
    assert len(families) >= len(DOCUMENTED)
    for family in families:
        assert family.documentation
        assert not {"type", "le", "quantile", "job", "instance"} & {
            label for sample in family.samples if not sample.name.endswith("_bucket") for label in sample.labels
        }


def test_the_gpus_of_every_kind_of_machine_are_shown_in_every_state(service: Service) -> None:
    families = {family.name: family for family in text_string_to_metric_families(service.metrics.exposition().decode())}
    free = {
        (sample.labels["interconnect"], sample.labels["model"]): sample.value
        for sample in families["gpu_scheduler_gpus"].samples
        if sample.labels["state"] == "free"
    }
    largest = {
        sample.labels["model"]: sample.value for sample in families["gpu_scheduler_largest_free_set_gpus"].samples
    }
    assert free == {("nvswitch", "NVIDIA H100 80GB HBM3"): 8, ("nvlink-pairs", "NVIDIA RTX A6000"): 4}
    assert largest == {"NVIDIA H100 80GB HBM3": 8, "NVIDIA RTX A6000": 4}
    assert len(families["gpu_scheduler_gpus"].samples) == 2 * len(GpuUse)
