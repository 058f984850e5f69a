"""The documentation says what the code does: every name is there, every example can be read, every link leads on."""

import json
import re
from enum import StrEnum
from pathlib import Path

import pytest
import yaml

from extender import connections, gpu_loss
from extender.failures import MEMORY, MOST_DOUBLINGS, MOST_SHARE, OWNER_NODES, WINDOW, Standing
from extender.filter import FAILING_NODE, PODS_ON_THEIR_WAY, TOPOLOGY_UNKNOWN
from extender.outcomes import START_WINDOW, FailureReason
from extender.reports import Knowledge
from extender.serve import SHUTDOWN_SECONDS
from extender.settings import Settings
from gpu_topology import assignment, contract, cordon, request
from gpu_topology.assignment import decode_assignment, encode_assignment
from gpu_topology.contract import check_state, decode_state, decode_topology, encode_state, encode_topology
from gpu_topology.placement import RefusalKind
from gpu_topology.request import Communication, OnGpuLoss, Require, wishes_of
from tests.control_plane.binaries import FOLDERS
from tests.manifests.files import REPOSITORY, fenced_blocks, scheduler_config
from topology_agent.labels import OWN_LABELS
from topology_agent.lease import DURATION_SECONDS, LONGEST_SECONDS, SHORTEST_SECONDS
from topology_agent.xids import APPLICATION_XIDS, LOST_GPU_XIDS

DOCS = REPOSITORY / "docs"
CONTRACT_README = REPOSITORY / "gpu_topology" / "README.md"
PAGES = [*sorted(DOCS.rglob("*.md")), CONTRACT_README]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
OWN_KEY = re.compile(r"gpu-scheduler/[a-z]+(?:-[a-z]+)*")
ANNOTATIONS = {
    value
    for module in (assignment, contract, cordon, request)
    for name, value in vars(module).items()
    if name.endswith("_ANNOTATION") and isinstance(value, str)
}


def compact(example: str) -> str:
    """JSON as it stands on a node: in one line without blanks."""
    return json.dumps(json.loads(example), separators=(",", ":"))


def keys_in(value: object) -> set[str]:
    """All keys of a JSON value, however deep, but for those that are GPU indices."""
    if isinstance(value, dict):
        own = {key for key in value if not key.isdecimal()}
        return own.union(*map(keys_in, value.values()))
    return set().union(*map(keys_in, value)) if isinstance(value, list) else set()


def anchors(page: Path) -> set[str]:
    """The fragments by which a page's headings can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("annotation", sorted(ANNOTATIONS))
def test_every_annotation_is_documented(annotation: str) -> None:
    """The constants of the contract and of the pod's request."""
    assert f"`{annotation}`" in (DOCS / "annotations.md").read_text()


@pytest.mark.parametrize("choices", [Require, Communication, OnGpuLoss], ids=lambda choices: choices.__name__)
def test_every_choice_of_a_wish_is_documented(choices: type[StrEnum]) -> None:
    """In the order in which the code has them, in a table of its own."""
    text = (DOCS / "annotations.md").read_text()
    assert all(f"| `{choice}` |" in text for choice in choices)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_speaks_of_a_key_that_does_not_exist(page: Path) -> None:
    """A key with our prefix is an annotation or label, or one of the namespace's objects as `<namespace>/<name>`."""
    accounts = {"gpu-scheduler/scheduler", "gpu-scheduler/extender"}
    assert set(OWN_KEY.findall(page.read_text())) <= ANNOTATIONS | accounts | set(OWN_LABELS)


@pytest.mark.parametrize("label", OWN_LABELS)
def test_every_label_is_documented(label: str) -> None:
    assert f"| `{label}` |" in (DOCS / "annotations.md").read_text()


def test_the_documented_xid_errors_are_those_of_the_tables() -> None:
    """Whoever has seen one in the kernel's log looks here."""
    text = " ".join((DOCS / "annotations.md").read_text().split())
    lost, ignored = (", ".join(map(str, sorted(table))) for table in (LOST_GPU_XIDS, APPLICATION_XIDS))
    assert f"(XID {lost})" in text
    assert f"(XID {ignored})" in text


def test_the_documented_times_of_the_lease_are_those_of_the_agent() -> None:
    text = " ".join((DOCS / "annotations.md").read_text().split())
    assert f"every {SHORTEST_SECONDS:.0f} to {LONGEST_SECONDS:.0f} seconds" in text
    assert f"{DURATION_SECONDS} seconds" in text


@pytest.mark.parametrize("kind", [*RefusalKind, TOPOLOGY_UNKNOWN, FAILING_NODE, PODS_ON_THEIR_WAY])
def test_every_kind_of_refusal_is_documented(kind: str) -> None:
    """Whoever reads it in the log or off the metrics finds it in the table."""
    assert f"| `{kind}` |" in (DOCS / "scheduling.md").read_text()


def test_what_the_kubelet_says_of_a_failed_pod_and_what_follows_are_documented() -> None:
    """With the figures that the code counts by."""
    text = " ".join((DOCS / "scheduling.md").read_text().split())
    said = set(FailureReason) - {FailureReason.OUT_OF_GPUS, FailureReason.EARLY_EXIT}
    assert all(f"`{reason}`" in text for reason in said)
    assert all(f"| `{standing}` |" in text for standing in Standing)
    defaults = Settings()
    assert f"`--failing-nodes` ({defaults.failing_nodes})" in text
    assert f"for {defaults.failing_nodes_pause_seconds // 60} minutes (`--failing-nodes-pause-seconds`)" in text
    assert f"within the last {WINDOW.seconds // 60} minutes" in text
    assert f"within {START_WINDOW.seconds} seconds of its start" in text
    assert (OWNER_NODES, MOST_SHARE, 2**MOST_DOUBLINGS, MEMORY.days) == (3, 1 / 5, 8, 1)


def test_what_keeps_evictions_from_doing_harm_is_documented() -> None:
    """With the figures that the code counts by, and every outcome that the metric has."""
    text = " ".join((DOCS / "recovery.md").read_text().split())
    defaults = Settings()
    assert f"| `--gpu-loss-seconds` | {defaults.gpu_loss_seconds} |" in text
    assert f"| `--evictions-per-minute` | {defaults.evictions_per_minute} |" in text
    assert f"after {gpu_loss.FIRST_PAUSE.seconds} seconds" in text
    assert f"up to {gpu_loss.LONGEST_PAUSE.seconds // 60} minutes, {gpu_loss.MOST_TRIES} times in all" in text
    assert gpu_loss.MOST_SHARE == 1 / 5
    assert all(f"| `{outcome}` |" in text for outcome in gpu_loss.Outcome)


def test_the_documented_limits_are_those_of_the_connections() -> None:
    text = " ".join((DOCS / "limits-and-load.md").read_text().split())
    assert f"arrives within {connections.REQUEST_SECONDS:.0f} seconds" in text
    assert f"its head has {connections.HEAD_BYTES // 1024} KiB" in text
    assert f"idle for {connections.KEEP_ALIVE_SECONDS} seconds" in text
    assert f"| {connections.MOST_CONNECTIONS} connections to a listener |" in text
    assert f"for {SHUTDOWN_SECONDS} seconds at most" in text
    assert f"{Settings().max_request_mib} MiB at most (`--max-request-mib`)" in text


def test_the_documented_weight_and_number_of_candidates_are_the_shipped_ones() -> None:
    """The arithmetic on the page is worth nothing for other figures."""
    text = " ".join((DOCS / "scheduling.md").read_text().split())
    [extender] = scheduler_config()["extenders"]
    assert f"`weight: {extender['weight']}`" in text
    defaults = Settings()
    assert f"{defaults.max_candidates} unless `GPU_SCHEDULER_MAX_CANDIDATES`" in text
    assert f"{defaults.max_candidates_with_preferences} unless `GPU_SCHEDULER_MAX_CANDIDATES_WITH_PREFERENCES`" in text


@pytest.mark.parametrize("knowledge", Knowledge)
def test_every_state_of_knowledge_has_a_remedy(knowledge: Knowledge) -> None:
    """Whoever reads it off the metrics finds it in the table."""
    assert f"| `{knowledge}` |" in (DOCS / "troubleshooting.md").read_text()


def test_the_examples_of_the_contract_are_what_the_codec_writes() -> None:
    """Read, written again, and together: the state's hash is that of the topology."""
    topology_text, state_text, assigned_text = map(compact, fenced_blocks(CONTRACT_README, "json"))
    topology, state = decode_topology(topology_text), decode_state(state_text)
    assert encode_topology(topology) == topology_text
    assert encode_state(state) == state_text
    check_state(state, topology, topology_text)
    assert encode_assignment(decode_assignment(assigned_text)) == assigned_text


def test_every_field_of_the_contract_is_documented() -> None:
    """Each has a row in a table, under its path."""
    rows = set(re.findall(r"^\| `(?:\w+\[\]\.)?(\w+)` \|", CONTRACT_README.read_text(), re.MULTILINE))
    examples = [json.loads(block) for block in fenced_blocks(CONTRACT_README, "json")]
    containers = {name for example in examples for name in example.get("containers", ())}
    assert keys_in(examples) - containers == rows


def test_the_wishes_of_the_example_pods_can_be_read() -> None:
    """They show all three, so they have to be right."""
    pods = [
        pod
        for path in (REPOSITORY / "manifests" / "examples").glob("*.yaml")
        for pod in yaml.safe_load_all(path.read_text())
    ]
    assert any(wishes_of(pod).are_hard for pod in pods)


@pytest.mark.parametrize("minor", FOLDERS)
def test_every_tested_version_of_kubernetes_is_documented(minor: str) -> None:
    assert re.search(rf"tests run against .*{re.escape(minor)}", (DOCS / "install.md").read_text(), re.DOTALL)


def test_every_example_is_listed() -> None:
    """Each has a row in the table of its page, and no row leads nowhere."""
    rows = re.findall(r"^\| `([a-z-]+\.yaml)` \|", (DOCS / "examples.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(path.name for path in (REPOSITORY / "manifests" / "examples").glob("*.yaml"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_yaml_block_can_be_read(page: Path) -> None:
    """Whoever copies it gets what it says."""
    for block in fenced_blocks(page, "yaml"):
        assert list(yaml.safe_load_all(block))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading of it where the link names one."""
    for target, fragment in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        assert not fragment or fragment in anchors(linked), f"{target}#{fragment}"
