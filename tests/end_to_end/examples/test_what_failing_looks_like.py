"""The page about the examples shows what a real run gives when one cannot be placed, and what helps then helps."""

import re

import pytest

from tests.control_plane.objects import is_bound, pod
from tests.end_to_end.examples.cluster import ExampleCluster
from tests.end_to_end.examples.transcript import follow, transcripts_under
from tests.end_to_end.examples.volumes import disk_of
from tests.manifests.files import REPOSITORY
from topology_agent.occupancy import Occupancy
from topology_agent.profiles import load_machine
from topology_agent.xids import XidEvent

PAGE = REPOSITORY / "docs" / "examples.md"
AS_IT_STANDS = (
    "The quota is used up",
    "Too few GPUs are free",
    "No node has this GPU model",
    "No set is fast enough",
    "A wish cannot be read",
    "No node offers this slice",
)
"""Sections whose transcripts can be followed from the first command to the last."""
WITH_HELP = ("A GPU is lost", "There is no volume", "The extender is down")
"""Those in which something has to happen before, or between."""
ROW = re.compile(r"^\| \[`(.+?)`\]\(#([a-z-]+)\) \|", re.MULTILINE)


def test_every_section_with_a_transcript_is_followed() -> None:
    headings = re.findall(r"^## (.+)$", PAGE.read_text(), re.MULTILINE)
    shown = [heading for heading in headings if transcripts_under(PAGE, heading)]
    assert sorted(shown) == sorted(AS_IT_STANDS + WITH_HELP)


def test_what_the_table_says_that_one_sees_is_in_the_transcripts() -> None:
    """Under the heading that its row leads to, and every heading has a row."""
    rows = ROW.findall(PAGE.read_text())
    headings = {heading.lower().replace(" ", "-"): heading for heading in AS_IT_STANDS + WITH_HELP}
    assert sorted(anchor for _, anchor in rows) == sorted(headings)
    for seen, anchor in rows:
        steps = [step for transcript in transcripts_under(PAGE, headings[anchor]) for step in transcript]
        assert any(seen in " ".join(step.prints.split()) for step in steps), seen


@pytest.mark.parametrize("heading", AS_IT_STANDS)
def test_each_command_prints_what_the_page_shows(cluster: ExampleCluster, heading: str) -> None:
    [transcript] = transcripts_under(PAGE, heading)
    follow(transcript, cluster.shell)


def test_a_lost_gpu_keeps_a_pod_waiting_until_it_is_back(cluster: ExampleCluster) -> None:
    """First the agent alone knows of it, then the kubelet too; at last it works again."""
    waits, waits_for_the_kubelet, goes_on = transcripts_under(PAGE, "A GPU is lost")
    machine = load_machine("hgx-h100")
    fallen = XidEvent(gpu=3, xid=79)
    lost = Occupancy((0, 1, 2, 4, 5, 6, 7), unhealthy={3: str(fallen.loss)})
    busy = pod("busy", gpus=8)
    busy["spec"]["nodeName"] = "hgx-h100"
    cluster.observer.wait_for_all_holders([cluster.client.create(busy)])
    cluster.add_node("hgx-h100-2", machine, lost, {"nvidia.com/gpu": 8})
    follow(waits, cluster.shell)
    cluster.offer("hgx-h100-2", {"nvidia.com/gpu": 7})
    follow(waits_for_the_kubelet, cluster.shell)
    cluster.report("hgx-h100-2", machine, Occupancy(tuple(range(8))))
    cluster.observer.wait_for_the_books("hgx-h100-2")
    cluster.offer("hgx-h100-2", {"nvidia.com/gpu": 8})
    follow(goes_on, cluster.shell)


def test_without_a_volume_a_pod_waits_and_goes_on_when_there_is_one(cluster: ExampleCluster) -> None:
    [transcript] = transcripts_under(PAGE, "There is no volume")
    follow(transcript, cluster.shell)
    cluster.client.create(disk_of("pcie-8"))
    [bound] = cluster.wait_for_bound(1)
    assert bound["spec"]["nodeName"] == "pcie-8"


def test_while_the_extender_is_down_gpu_pods_wait_and_no_others(cluster: ExampleCluster) -> None:
    waits, goes_on = transcripts_under(PAGE, "The extender is down")
    extender = cluster.stack.extender
    extender.kill()
    try:
        follow(waits, cluster.shell)
        cluster.client.create(pod("without-gpus", scheduler_name="gpu-scheduler"))
        cluster.client.wait_for("Pod", "without-gpus", is_bound)
        assert not any(map(is_bound, cluster.pods()))
    finally:
        extender.start()
    follow(goes_on, cluster.shell)
    assert len(cluster.wait_for_bound(1)) == 1
