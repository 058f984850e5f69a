"""`gputopo top`: printed once, and refreshed in a terminal."""

import re
from datetime import UTC, datetime

import orjson
import pytest

from extender.ledger import Ledger
from extender.overview import overview_of
from gputopo.summary import By, groups_of, summary
from tests.extender.builders import node, switched
from tests.gputopo.answering import answering
from tests.gputopo.clusters import mixed, overview
from tests.gputopo.conftest import Command
from tests.gputopo.terminal import terminal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def cells(line: str) -> list[str]:
    """The cells of a line, without colours."""
    return re.split(r"  +", re.sub(r"\x1b\[\d+m", "", line).strip())


def test_each_class_of_machines_is_summed_up_the_fullest_first(gputopo: Command) -> None:
    with answering(200, overview(mixed())) as (url, _):
        outcome = gputopo("top", "--once", "--url", url)
    lines = outcome.output.splitlines()
    assert outcome.status == 0
    assert lines[0].startswith("4 nodes, 24 GPUs: 9 free, 8 held, 1 sliced, 1 unhealthy, 1 cordoned, 4 unknown; as of ")
    assert lines[1] == "allocated is what pods hold, not how busy the GPUs are"
    assert [cells(line) for line in lines[2:]] == [
        [
            *("LINKS", "MODEL", "NODES", "GPUS", "FREE", "HELD", "SLICED", "OUT", "UNKNOWN", "PODS"),
            *("LARGEST FREE SET", "ALLOCATED"),
        ],
        ["nvlink-pairs", "NVIDIA RTX A6000", "1", "4", "0", "2", "0", "2", "0", "1", "0", "100%", "██████████"],
        [
            *("nvswitch", "NVIDIA H100 80GB HBM3", "2", "16", "9", "6", "1", "0", "0", "2"),
            *("7, 376.2 GB/s", "44%", "████░░░░░░"),
        ],
        ["?", "?", "1", "4", "0", "0", "0", "0", "4", "1", "0", "?", "░░░░░░░░░░"],
    ]


def test_without_a_terminal_it_is_printed_once(gputopo: Command) -> None:
    with answering(200, overview(mixed())) as (url, paths):
        outcome = gputopo("top", "--by", "node", "--url", url)
    assert (outcome.status, paths) == (0, ["/v1/cluster"])
    assert [cells(line)[0] for line in outcome.output.splitlines()[3:]] == ["bridge", "switch", "cut", "silent"]


def test_a_program_reads_numbers_and_unknown_is_null(gputopo: Command) -> None:
    with answering(200, overview(mixed())) as (url, _):
        document = gputopo("top", "--json", "--url", url).document
    groups = {group["links"]: group for group in document["groups"]}
    assert groups["nvswitch"] == {
        "links": "nvswitch",
        "model": "NVIDIA H100 80GB HBM3",
        "nodes": 2,
        "gpus": 16,
        "free": 9,
        "held": 6,
        "sliced": 1,
        "unhealthy": 0,
        "cordoned": 0,
        "unknown": 0,
        "allocated": 0.4375,
        "pods": 2,
        "largest_free_set": {"gpus": 7, "bandwidth_gbps": 376.2},
    }
    assert (groups[None]["model"], groups[None]["allocated"], groups[None]["unknown"]) == (None, None, 4)
    assert document["totals"]["gpus"] == 24


def test_gpus_out_of_service_are_not_counted_as_not_allocated() -> None:
    ledger = Ledger()
    ledger.apply_node(node("n", switched(4), free=[0], unhealthy={1: "XID 79", 2: "XID 79"}))
    document = overview_of(ledger)
    [group] = groups_of(document["nodes"], document["topologies"], By.CLASS)
    assert group.allocated == 1 / 2


@pytest.mark.parametrize(
    ("height", "shown", "rest"), [(None, 30, None), (20, 15, "... and 15 more"), (1, 1, "... and 29 more")]
)
def test_what_a_terminal_has_no_room_for_is_counted(height: int | None, shown: int, rest: str | None) -> None:
    ledger = Ledger()
    ledger.replace_nodes([node(f"n{number:02}", switched(4)) for number in range(30)])
    lines = [*summary(overview_of(ledger), By.NODE, NOW, height=height)]
    assert sum(line.startswith("n") for line in lines) == shown
    assert (lines[-1] == rest) is (rest is not None)


def test_it_is_refreshed_in_place_until_ctrl_c() -> None:
    """And says so when the extender no longer answers."""
    answers = {"/v1/cluster": overview(mixed())}
    with answering(200, answers) as (url, _), terminal("top", "--every", "1", "--url", url) as shown:
        shown.wait_for("8 held")
        document = orjson.loads(answers["/v1/cluster"])
        document["nodes"] = [each for each in document["nodes"] if each["name"] == "cut"]
        answers["/v1/cluster"] = orjson.dumps(document)
        shown.wait_for("1 node, 8 GPUs")
        answers["/v1/cluster"] = b"hello"
        shown.wait_for("not up to date: .*its answer is not JSON")
        assert shown.interrupt() == 0
    assert "Traceback" not in shown.text
    assert "Aborted" not in shown.text
    assert "\x1b[?25h" in shown.text, "the cursor is left hidden"
