"""`gputopo explain` against something that answers as an extender does."""

from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from extender.explain import unexplained
from extender.ledger import Ledger
from extender.service import Service
from tests.extender.builders import bare_node, bridged, holder, node, pod, switched
from tests.extender.test_dra import claimed
from tests.gputopo.answering import answering
from tests.gputopo.conftest import Command

TROUBLESHOOTING = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


def explanation(ledger: Ledger, **asking: object) -> bytes:
    """What the extender would answer about this pod after it was asked to filter for it."""
    trainer = pod(**asking)  # type: ignore[arg-type]  # passed on as they are
    with capture_logs():
        service = Service(ledger)
        service.filter(orjson.dumps({"Pod": trainer, "Nodes": None, "NodeNames": ["half-0"]}))
    return orjson.dumps(service.explanation_of("team/trainer"))


@pytest.fixture
def halves() -> Ledger:
    """Four machines of bridged pairs, one GPU of each pair held, one full machine, and one that says nothing."""
    held = [holder("a", [0]), holder("b", [2])]
    ledger = Ledger()
    ledger.replace_nodes([node(f"half-{number}", bridged(4), held=held) for number in range(4)])
    ledger.apply_node(node("full", bridged(4), held=[holder("c", range(4))]))
    ledger.apply_node(bare_node("silent"))
    return ledger


def test_a_person_reads_what_stands_in_the_way_and_what_would_help(gputopo: Command, halves: Ledger) -> None:
    answer = explanation(halves, gpus=2, min_bandwidth_gbps="50")
    with answering(200, answer) as (url, paths):
        outcome = gputopo("explain", "team/trainer", "--url", url)
    assert outcome.status == 0
    assert paths == ["/v1/explain/team/trainer"]
    lines = outcome.output.splitlines()
    assert lines[0] == "team/trainer asks for 2 GPUs, at least 50.0 GB/s"
    assert lines[2:10] == [
        "  could serve it: 0",
        "  short of GPUs: 1",
        "    1 node (full): 0 of 4 GPUs free, 2 asked for",
        "  refuse it: 5",
        "    4 nodes (half-0, half-1, half-2, ...): 2 of 4 GPUs free, no set of 2 reaches 50 GB/s: the best has 26.3",
        "    1 node (silent): topology unknown: the node has no annotation gpu-scheduler/topology",
        "what would help:",
        "  lower gpu-scheduler/min-bandwidth-gbps to 26.3: half-0 could serve it now",
    ]
    assert lines[-3].startswith("  filter: at ")
    assert lines[-3].endswith(": candidates 1, passed 0, left out 0, refused bandwidth=1")
    assert lines[-2:] == ["  prioritize: never asked", "  preempt: never asked"]


def test_the_best_node_and_its_gpus_are_named(gputopo: Command) -> None:
    ledger = Ledger()
    ledger.replace_nodes([node("switch", switched(8))])
    ledger.apply_pod(pod(gpus=2, on="switch"))
    with answering(200, explanation(ledger, gpus=2, communication="heavy")) as (url, _):
        output = gputopo("explain", "team/trainer", "--url", url).output
    assert "team/trainer asks for 2 GPUs, communication: heavy\n" in output
    assert "it is bound to switch; what follows is about another pod like it\n" in output
    assert "the best is switch with c0 GPUs 2, 3, 376.2 GB/s\n" in output


def test_what_a_pod_has_from_a_dra_driver_is_told(gputopo: Command) -> None:
    """By number and claim: nobody knows more."""
    ledger = Ledger()
    ledger.apply_node(bare_node("driver", gpus=0))
    ledger.serve_by_dra("gpu.example")
    ledger.apply_pod(claimed(pod(gpus=2, on="driver"), "c0"))
    with answering(200, explanation(ledger, gpus=2)) as (url, _):
        lines = gputopo("explain", "team/trainer", "--url", url).output.splitlines()
    assert lines[1].startswith("it is bound to driver")
    assert lines[2] == (
        "it has 2 GPUs through the claim trainer-extended-resources-x1y2z: the DRA driver chose, nothing is promised "
        "about links"
    )


def test_a_wish_that_cannot_be_read_is_named(gputopo: Command) -> None:
    with answering(200, explanation(Ledger(), gpus=2, require="the moon")) as (url, _):
        output = gputopo("explain", "team/trainer", "--url", url).output
    assert "team/trainer asks for nothing that is known\n" in output
    assert "it cannot be decided upon: gpu-scheduler/require is 'the moon'" in output


def test_a_program_reads_the_document_itself(gputopo: Command, halves: Ledger) -> None:
    answer = explanation(halves, gpus=2)
    with answering(200, answer) as (url, _):
        outcome = gputopo("explain", "team/trainer", "--url", f"{url}/", "--json")
    assert outcome.document == orjson.loads(answer)


@pytest.mark.parametrize(
    ("status", "body", "sentence", "ends"),
    [
        (404, orjson.dumps({"detail": unexplained("a/b")}), "the extender remembers no question about a/b. Either", 1),
        (503, b'{"detail": "the extender is still waiting for pods"}', "the extender is still waiting for pods", 2),
        (500, b"{}", "answered 500", 2),
        (200, b"<html>", "its answer is not JSON", 2),
        (200, b"[]", "its answer is not an object", 2),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_explanation_is_one_sentence(
    gputopo: Command, status: int, body: bytes, sentence: str, ends: int
) -> None:
    """With status 1 where there is none, and 2 where there is nobody to ask."""
    with answering(status, body) as (url, _):
        outcome = gputopo("explain", "a/b", "--url", url)
    assert (outcome.status, outcome.output) == (ends, "")
    assert sentence in outcome.errors
    assert len(outcome.errors.splitlines()) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nowhere", "http://[", "ftp://127.0.0.1"])
def test_an_extender_that_cannot_be_reached_is_one_sentence_and_status_2(gputopo: Command, url: str) -> None:
    outcome = gputopo("explain", "a/b", "--url", url)
    assert (outcome.status, outcome.output) == (2, "")
    assert outcome.errors.startswith(f"gputopo: the extender at {url} cannot be asked: ")
    assert len(outcome.errors.splitlines()) == 1


@pytest.mark.parametrize("name", ["trainer", "/trainer", "team/", "a/b/c"])
def test_a_name_without_its_namespace_is_a_wrong_usage(gputopo: Command, name: str) -> None:
    outcome = gputopo("explain", name)
    assert (outcome.status, outcome.output) == (2, "")
    assert "is not a namespace and a pod" in " ".join(outcome.errors.split())


def test_a_name_cannot_lead_to_another_page(gputopo: Command) -> None:
    with answering(404, b'{"detail": "no"}') as (url, paths):
        gputopo("explain", "a/b?c#d", "--url", url)
    assert paths == ["/v1/explain/a/b%3Fc%23d"]


def test_a_pod_of_another_scheduler_is_told_who_heeds_its_wishes(gputopo: Command, halves: Ledger) -> None:
    """And nothing that anybody says can colour the terminal or begin a line of its own."""
    spoken = {"scheduler": "default-scheduler", "said": "0/6 nodes\n\x1b[31m. preemption: 0/6 nodes"}
    answer = orjson.dumps({**orjson.loads(explanation(halves, gpus=2)), **spoken})
    with answering(200, answer) as (url, _):
        lines = gputopo("explain", "team/trainer", "--url", url).output.splitlines()
    assert lines[-3:] == [
        "its schedulerName is default-scheduler: what is said here of wishes and links, only gpu-scheduler heeds",
        r"what default-scheduler says of it: 0/6 nodes\n\x1b[31m",
        "what the extender answered last, it alone knows: ask it with --url",
    ]


def test_an_error_of_the_extender_stays_one_harmless_line(gputopo: Command) -> None:
    with answering(404, orjson.dumps({"detail": "no\n\x1b[31m"})) as (url, _):
        assert gputopo("explain", "a/b", "--url", url).errors == "gputopo: no\\n\\x1b[31m\n"


@pytest.mark.parametrize("word", ["gputopo explain", "a higher priority does not help"])
def test_the_troubleshooting_page_leads_here(word: str) -> None:
    assert word in TROUBLESHOOTING.read_text(encoding="utf-8")
