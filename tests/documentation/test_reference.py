"""What the reference pages list is complete: nothing exists that they do not name, and they name nothing else."""

import re
from pathlib import Path

import pytest

from tests.control_plane.binaries import FOLDERS
from tests.manifests.files import REPOSITORY
from topology_agent.profiles import machine_names

DOCS = REPOSITORY / "docs"
PAGES = [*DOCS.rglob("*.md"), REPOSITORY / "extender" / "README.md", REPOSITORY / "topology_agent" / "README.md"]
PROGRAMS = ("extender", "topology_agent")
REASON = re.compile(r"\"((?:Gpu|Gpus|Nvlink|Waits|Unreadable)[A-Z]\w+)\"")
"""How the code spells the reasons of its events."""
ROW = re.compile(r"^\| `?([\w./-]+)`? \|", re.MULTILINE)


def sources() -> list[Path]:
    """The code of both programs."""
    return [path for program in PROGRAMS for path in (REPOSITORY / program).rglob("*.py")]


def reasons() -> set[str]:
    """The reasons of the events that the programs write."""
    return {reason for path in sources() for reason in REASON.findall(path.read_text())}


def test_the_reasons_of_events_are_found_in_the_code() -> None:
    """Else the next test would be content with nothing."""
    assert {"GpuLost", "GpuReturned", "NvlinkDown", "GpuCordonUnreadable", "GpuNodeLeftOut"} <= reasons()


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_every_reason_of_an_event_is_documented(reason: str) -> None:
    """Whoever reads it off `kubectl events` finds it."""
    assert any(f"`{reason}`" in page.read_text() for page in PAGES)


def test_every_component_is_listed() -> None:
    components = [path.parent.name for path in (REPOSITORY / "manifests" / "components").glob("*/kustomization.yaml")]
    rows = [row for row in ROW.findall((DOCS / "components.md").read_text()) if row != "NAME"]
    assert sorted(rows) == sorted(components)


def test_every_machine_profile_is_listed() -> None:
    text = (REPOSITORY / "topology_agent" / "README.md").read_text()
    assert not [name for name in machine_names() if f"`{name}`" not in text]


@pytest.mark.parametrize("symptom", re.findall(r"\]\(#([\w-]+)\)", (DOCS / "troubleshooting.md").read_text()))
def test_every_symptom_leads_to_a_section_with_a_command(symptom: str) -> None:
    """A section that only describes helps nobody at three in the morning."""
    sections = (DOCS / "troubleshooting.md").read_text().split("\n## ")[1:]
    [section] = [
        text for text in sections if re.sub(r"[^\w\- ]", "", text.split("\n")[0].lower()).replace(" ", "-") == symptom
    ]
    assert re.search(r"```sh\n|`kubectl ", section)


def test_the_tested_versions_are_those_of_the_tests() -> None:
    """Kubernetes' minor versions, and those of NVIDIA's programs."""
    text = (DOCS / "versions.md").read_text()
    assert re.findall(r"^\| ([\d.]+) \| tested \|", text, re.MULTILINE) == sorted(FOLDERS, reverse=True)
    modules = (REPOSITORY / "tests" / "kubelet" / "nvidia_device_plugin" / "go.mod").read_text()
    for module in ("k8s-device-plugin", "go-gpuallocator"):
        [version] = re.findall(rf"NVIDIA/{module} (v[\d.]+)", modules)
        assert version in text, module
