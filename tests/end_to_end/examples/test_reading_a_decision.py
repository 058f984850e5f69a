"""The page that reads a decision shows what a real run writes: transcripts, and the extender's lines."""

import json
from typing import Any

from tests.end_to_end.examples.cluster import ExampleCluster
from tests.end_to_end.examples.transcript import follow, transcripts_in
from tests.manifests.files import REPOSITORY, fenced_blocks

PAGE = REPOSITORY / "docs" / "reading-a-decision.md"


def logged(cluster: ExampleCluster, pod: str) -> list[dict[str, Any]]:
    """The extender's lines about the decision for a pod, the last of each kind, without what differs from run to run.

    That is their time, and whether the agent's report came before the pod was seen bound: its `basis` is null then.
    """
    lines = [json.loads(line) for line in cluster.stack.extender.log.read_text().splitlines() if line.startswith("{")]
    last = {line["event"]: line for line in lines if line.get("pod") == pod}
    for line in last.values():
        del line["timestamp"]
    last["placed"]["basis"] = last["placed"]["basis"] or "enforced"
    return [last["filter"], last["prioritize"], last["placed"]]


def test_the_decision_reads_as_the_page_shows_it(cluster: ExampleCluster) -> None:
    for transcript in transcripts_in(PAGE.read_text()):
        follow(transcript, cluster.shell)
    shown = [json.loads(block) for block in fenced_blocks(PAGE, "json")]
    assert logged(cluster, "team/nvlink-pair") == shown
