"""The components `monitoring` and `monitoring-dcgm` name what is there: metrics, their values, ports, labels."""

import json
import re
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from extender.failures import Standing
from extender.filter import FAILING_NODE, TOPOLOGY_UNKNOWN
from extender.reports import Knowledge
from extender.settings import Settings
from gpu_topology.placement import RefusalKind
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.parts import extender
from tests.manifests.files import COMPONENTS, REPOSITORY, Manifest, containers, overlay, render
from topology_agent.lease import DURATION_SECONDS
from topology_agent.xids import LOST_GPU_XIDS

MONITORING = COMPONENTS / "monitoring"
PAGE = REPOSITORY / "docs" / "cluster" / "monitoring.md"
FOREIGN: Final = {
    "up",  # Prometheus itself
    # kube-state-metrics, docs/metrics: cluster/lease-metrics.md, workload/daemonset-metrics.md
    "kube_lease_renew_time",
    "kube_daemonset_status_number_unavailable",
    # NVIDIA's DCGM exporter, those that it exposes by default: etc/default-counters.csv
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE",
    "DCGM_FI_DEV_XID_ERRORS",
}
"""Metrics of others, each with where it is documented."""
WORDS_OF_PROMQL: Final = {"and", "or", "unless", "by", "without"}
MATCHERS = re.compile(r"\{[^}]*\}")
GROUPING = re.compile(r"\b(by|without) \([^)]*\)")
RANGE = re.compile(r"\[[^\]]*\]")
NAME = re.compile(r"(?<![\w.])[a-zA-Z_]\w*(?!\w*\s*\()")
CHOICE = re.compile(r'\b(\w+)(=~|!=|=)"([^"]*)"')


def rules() -> list[Manifest]:
    """All alerts of the component."""
    return [
        rule
        for path in MONITORING.glob("*-alerts.yaml")
        for group in yaml.safe_load(path.read_text())["spec"]["groups"]
        for rule in group["rules"]
    ]


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana gets it."""
    read: dict[str, Any] = json.loads((MONITORING / "gpu-scheduler.json").read_text())
    return read


def expressions() -> list[str]:
    """Every PromQL expression of alerts and dashboard."""
    targets = [target for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return [rule["expr"] for rule in rules()] + [target["expr"] for target in targets]


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names: what is neither function nor keyword, label nor duration."""
    for pattern in (MATCHERS, GROUPING, RANGE):
        expression = pattern.sub("", expression)
    return set(NAME.findall(expression)) - WORDS_OF_PROMQL


@pytest.fixture(scope="module")
def exposed(control_plane: ControlPlane) -> set[str]:
    """The samples that a real extender exposes, by name."""
    served = extender(control_plane)
    with served.process:
        text = httpx.get(f"{served.probes_url}/metrics", trust_env=False).text
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    parts = [f"{name}_{part}" for name, kind in types.items() if kind == "histogram" for part in ("bucket", "count")]
    return {*types, *parts}


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_metric_is_one_that_somebody_exposes(expression: str, exposed: set[str]) -> None:
    """A name that nobody exposes makes an alert that never fires."""
    named = metrics_in(expression)
    assert named
    assert named <= exposed | FOREIGN


def test_every_metric_of_others_is_used() -> None:
    assert set().union(*map(metrics_in, expressions())) >= FOREIGN


def test_every_value_of_a_label_is_one_that_the_extender_gives() -> None:
    """So that no alert waits for a word that has been renamed."""
    known: dict[str, set[str]] = {
        "knowledge": {*Knowledge},
        "standing": {*Standing},
        "kind": {*RefusalKind, FAILING_NODE, TOPOLOGY_UNKNOWN},
        "basis": {"recorded", "enforced", "predicted"},
        "outcome": {"agree", "differ"},
        "result": {"ok", "error", "malformed", "unreadable"},
    }
    chosen = [choice for expression in expressions() for choice in CHOICE.findall(expression)]
    checked = [(label, value) for label, _, values in chosen if label in known for value in values.split("|")]
    assert checked
    assert not [(label, value) for label, value in checked if value not in known[label]]


def test_the_alert_of_a_lost_gpu_goes_by_the_errors_by_which_the_agent_does() -> None:
    [lost] = [rule["expr"] for rule in rules() if rule["alert"] == "GpuLost"]
    assert set(map(int, re.findall(r"== (\d+)", lost))) == set(LOST_GPU_XIDS)


def test_the_alert_of_a_silent_agent_goes_by_the_duration_of_its_lease() -> None:
    [silent] = [rule["expr"] for rule in rules() if rule["alert"] == "GpuTopologyAgentSilent"]
    assert silent.endswith(f"> {DURATION_SECONDS}")


def test_every_alert_has_a_severity_and_a_row_on_its_page() -> None:
    """And the page knows no other."""
    assert all(rule["labels"]["severity"] in {"warning", "critical"} for rule in rules())
    assert all(set(rule["annotations"]) == {"summary", "description"} for rule in rules())
    rows = re.findall(r"^\| `(Gpu\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(rule["alert"] for rule in rules())


@pytest.mark.parametrize("more", [[], ["mutual-tls"]], ids=["beside kube-scheduler", "in a pod of its own"])
def test_prometheus_finds_the_extender_wherever_it_runs(more: list[str], tmp_path: Path) -> None:
    """By one Service, one port of it, and a port of the extender's container behind that."""
    rendered = render(overlay(tmp_path, MONITORING, *(COMPONENTS / name for name in more)))
    monitor = of_kind(rendered, "ServiceMonitor")["gpu-scheduler-extender"]
    [selector] = monitor["spec"]["selector"]["matchExpressions"]
    [endpoint] = monitor["spec"]["endpoints"]
    [(service, port)] = [
        (service, port["port"])
        for service in of_kind(rendered, "Service").values()
        if service["metadata"].get("labels", {}).get(selector["key"]) in selector["values"]
        for port in service["spec"]["ports"]
        if port.get("name") == endpoint["port"]
    ]
    [pod] = [
        deployment["spec"]["template"]["spec"]
        for deployment in of_kind(rendered, "Deployment").values()
        if service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    ]
    [extender] = [container for container in containers(pod) if container["name"] == "extender"]
    assert port == Settings().probes_port
    assert port in {port["containerPort"] for port in extender["ports"]}
    assert service["metadata"]["namespace"] == monitor["metadata"]["namespace"]


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    """The objects of a kind, by name."""
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


def test_the_alerts_go_by_the_job_that_the_service_monitor_makes() -> None:
    [monitor] = yaml.safe_load_all((MONITORING / "service-monitor.yaml").read_text())
    [relabeling] = monitor["spec"]["endpoints"][0]["relabelings"]
    jobs = {value for expression in expressions() for label, _, value in CHOICE.findall(expression) if label == "job"}
    assert relabeling["targetLabel"] == "job"
    assert jobs == {relabeling["replacement"]}


def test_the_dashboard_is_whole() -> None:
    """Each panel has an id and a place of its own, a description, and the data source that is chosen."""
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in panels]
    assert len(set(places)) == len(panels)
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert all(panel["description"] and panel["targets"] for panel in shown)
    assert {panel["datasource"]["uid"] for panel in shown} == {"${datasource}"}
    assert {variable["name"] for variable in dashboard()["templating"]["list"]} == {"datasource", "node"}


def test_grafana_gets_the_dashboard_in_a_config_map_with_its_label(tmp_path: Path) -> None:
    config_map = of_kind(render(overlay(tmp_path, MONITORING)), "ConfigMap")["gpu-scheduler-dashboard"]
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config_map["data"]["gpu-scheduler.json"]) == dashboard()
