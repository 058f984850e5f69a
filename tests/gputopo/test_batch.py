"""Batches: one answer for each line, whatever the line."""

import io
from collections.abc import Callable, Mapping
from itertools import combinations, pairwise, permutations
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gpu_topology.contract import encode_topology
from gpu_topology.placement import WorthModel
from gpu_topology.request import Communication, Wishes
from gpu_topology.topology import NodeTopology
from gputopo import place, predict
from gputopo.batch import Batch
from tests.gpu_topology.strategies import topologies
from tests.gputopo.conftest import Command
from topology_agent.profiles import load_machine

PAIR = {"gpus": 2, "pcie": [["X", "PIX"], ["PIX", "X"]], "nvlinks": [[0, 0], [0, 0]], "nvswitch": None, "nics": []}
TRIO = {
    "gpus": 3,
    "pcie": [["X", "SYS", "PIX"], ["SYS", "X", "SYS"], ["PIX", "SYS", "X"]],
    "nvlinks": [[0, 2, 0], [2, 0, 0], [0, 0, 0]],
    "nvswitch": False,
    "nics": [],
}


def lines(*questions: object) -> bytes:
    """JSON lines; bytes stand for themselves."""
    return b"".join((each if isinstance(each, bytes) else orjson.dumps(each)) + b"\n" for each in questions)


def question(topology: NodeTopology, **fields: object) -> dict[str, object]:
    """A line about a machine of the model."""
    return {"topology": orjson.loads(encode_topology(topology)), **fields}


def test_place_answers_each_line_with_its_id_in_order(gputopo: Command) -> None:
    outcome = gputopo(
        "place",
        "--batch",
        stdin=lines(
            {"id": "a", "topology": TRIO, "free": [0, 1, 2], "gpus": 2},
            {"id": "b", "free": [2, 0], "gpus": 2, "communication": "light"},
        ),
    )

    first, second = outcome.lines
    assert outcome.status == 0
    assert list(first) == ["id", "gpus", "bandwidth_gbps", "pair_sum_gbps", "leftover"]
    assert (first["id"], first["gpus"], first["bandwidth_gbps"], first["pair_sum_gbps"]) == ("a", [0, 1], 36.6, 36.6)
    assert first["leftover"]["free"] == [2]
    assert (second["id"], second["gpus"], second["bandwidth_gbps"]) == ("b", [0, 2], 13.1)


def test_predict_answers_with_the_vendors_outcomes(gputopo: Command) -> None:
    outcome = gputopo("predict", "--batch", stdin=lines({"id": 7, "topology": TRIO, "free": [0, 1, 2], "gpus": 2}))

    assert outcome.lines == [
        {"id": 7, "predictable": True, "reason": None, "scores": [210], "outcomes": [[0, 1]], "may_crash": False}
    ]


@pytest.mark.parametrize("command", ["place", "predict"])
@pytest.mark.parametrize("identity", [0, "x", None, 1.5, [1, {"a": None}], {"pod": "a/b"}, 2**53, "ü\n"], ids=repr)
def test_any_json_value_is_an_id(gputopo: Command, command: str, identity: object) -> None:
    good = {"id": identity, "topology": PAIR, "free": [0], "gpus": 1}

    answers = gputopo(command, "--batch", stdin=lines(good, {**good, "gpus": 2})).lines

    assert [answer["id"] for answer in answers] == [identity, identity]
    assert ["error" in answer for answer in answers] == [False, True]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"", "the line is not JSON"),
        (b"{", "the line is not JSON"),
        (b"\xff", "the line is not JSON"),
        (b"[" * 3000, "the line is not JSON"),
        ([1, 2], "the line is not a JSON object"),
        ("text", "the line is not a JSON object"),
        ({"free": [0], "gpus": 3}, "1 of 2 GPUs free, 3 asked for"),
        ({"free": [], "gpus": 1}, "0 of 2 GPUs free, 1 asked for"),
        ({"gpus": 1}, "free must be a list of GPUs"),
        ({"free": 1, "gpus": 1}, "free must be a list of GPUs"),
        ({"free": [0, 2], "gpus": 1}, "free must list GPUs from 0 to 1"),
        ({"free": [-1], "gpus": 1}, "free must list GPUs from 0 to 1"),
        ({"free": [True], "gpus": 1}, "free must list GPUs from 0 to 1"),
        ({"free": [0.0], "gpus": 1}, "free must list GPUs from 0 to 1"),
        ({"free": ["0"], "gpus": 1}, "free must list GPUs from 0 to 1"),
        ({"free": [0, 0], "gpus": 1}, "free names a GPU twice"),
        ({"free": [0]}, "gpus must be a number of GPUs"),
        ({"free": [0], "gpus": 0}, "gpus must be a number of GPUs"),
        ({"free": [0], "gpus": -1}, "gpus must be a number of GPUs"),
        ({"free": [0], "gpus": True}, "gpus must be a number of GPUs"),
        ({"free": [0], "gpus": "1"}, "gpus must be a number of GPUs"),
        ({"free": [0], "gpus": 1, "communication": "loud"}, "communication must be one of none, light, heavy"),
        ({"free": [0], "gpus": 1, "communication": []}, "communication must be one of none, light, heavy"),
        ({"free": [0], "gpus": 1, "communication": 3}, "communication must be one of none, light, heavy"),
    ],
)
def test_a_line_that_cannot_be_used_says_why_and_the_run_goes_on(gputopo: Command, line: object, error: str) -> None:
    good = {"id": 1, "topology": PAIR, "free": [0, 1], "gpus": 2}
    bad = {"id": "bad", **line} if isinstance(line, dict) else line

    outcome = gputopo("place", "--batch", stdin=lines(good, bad, {"id": 3, "free": [0], "gpus": 1}))

    before, refused, after = outcome.lines
    assert outcome.status == 0
    assert list(refused) == ["id", "error"]
    assert refused["id"] == ("bad" if isinstance(line, dict) else None)
    assert error in refused["error"]
    assert (before["gpus"], after["gpus"]) == ([0, 1], [0])


def test_a_first_line_without_a_topology_is_refused(gputopo: Command) -> None:
    (answer,) = gputopo("place", "--batch", stdin=lines({"id": 1, "free": [0], "gpus": 1})).lines

    assert answer == {"id": 1, "error": "topology is missing, and no line before has one that could be used"}


def test_after_a_topology_that_cannot_be_used_none_is_taken_for_it(gputopo: Command) -> None:
    """The line before the broken one was about another machine."""
    usable = {"topology": PAIR, "free": [0], "gpus": 1}

    answers = gputopo(
        "place", "--batch", stdin=lines(usable, {**usable, "topology": {"gpus": 2}}, {"free": [0], "gpus": 1}, usable)
    ).lines

    assert ["error" in answer for answer in answers] == [False, True, True, False]
    assert answers[1]["error"] == "topology: pcie: Field required"


def test_a_topology_stays_although_its_line_was_refused_for_another_reason(gputopo: Command) -> None:
    answers = gputopo(
        "predict", "--batch", stdin=lines({"topology": PAIR, "free": [9], "gpus": 1}, {"free": [1], "gpus": 1})
    ).lines

    assert "error" in answers[0]
    assert answers[1]["outcomes"] == [[1]]


def test_a_null_topology_is_no_topology(gputopo: Command) -> None:
    (answer,) = gputopo("place", "--batch", stdin=lines({"topology": None, "free": [0], "gpus": 1})).lines

    assert answer["error"] == "a topology must be a JSON object"


def test_the_last_line_needs_no_end(gputopo: Command) -> None:
    outcome = gputopo("place", "--batch", stdin=lines({"topology": PAIR, "free": [0], "gpus": 1}).rstrip())

    assert outcome.output.endswith("\n")
    assert len(outcome.lines) == 1


def test_no_lines_have_no_answers(gputopo: Command) -> None:
    assert gputopo("place", "--batch").output == ""


def test_lines_can_be_read_from_a_file(gputopo: Command, tmp_path: Any) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_bytes(lines({"topology": PAIR, "free": [0], "gpus": 1}))

    assert gputopo("place", "--batch", file).lines[0]["gpus"] == [0]


def test_the_wishes_of_the_command_line_hold_for_every_line(gputopo: Command) -> None:
    asked = lines({"topology": TRIO, "free": [0, 1, 2], "gpus": 2}, {"free": [0, 2], "gpus": 2})

    linked = gputopo("place", "--batch", "--require", "nvlink", stdin=asked).lines
    fast = gputopo("place", "--batch", "--min-bandwidth-gbps", "20", stdin=asked).lines

    assert [answer.get("error") for answer in linked] == [None, "no 2 free GPUs are all linked by NVLink"]
    assert [answer.get("error") for answer in fast] == [None, "no set of 2 reaches 20 GB/s: the best has 13.1"]


def test_a_lines_own_communication_outdoes_the_command_lines(gputopo: Command) -> None:
    asked = question(load_machine("dgx-1v"), free=[0, 1, 2, 5, 6], gpus=2)
    stdin = lines(asked, {**asked, "communication": "heavy"}, {**asked, "communication": "none"})

    quiet, heavy, own = gputopo("place", "--batch", "--communication", "none", stdin=stdin).lines

    assert quiet == own
    assert quiet["leftover"]["value"] >= heavy["leftover"]["value"]
    assert quiet["bandwidth_gbps"] <= heavy["bandwidth_gbps"]


def test_the_worth_model_holds_for_every_line(gputopo: Command) -> None:
    asked = lines(question(load_machine("dgx-1v"), free=list(range(8)), gpus=4))

    ring = gputopo("place", "--batch", stdin=asked).lines[0]
    effbw = gputopo("place", "--batch", "--worth", "effbw", stdin=asked).lines[0]

    assert ring["bandwidth_gbps"] != effbw["bandwidth_gbps"]


@pytest.mark.parametrize("machine", ["dgx-1v", "hgx-h100", "pcie-8"])
def test_a_batch_answers_as_the_command_does(gputopo: Command, machine: str) -> None:
    asked = lines(*(question(load_machine(machine), id=size, free=[0, 1, 3, 4, 6], gpus=size) for size in (1, 2, 4)))
    for command in ("place", "predict"):
        for answer in gputopo(command, "--batch", stdin=asked).lines:
            size = answer.pop("id")
            alone = gputopo(command, "--machine", machine, "--gpus", size, "--free", "0,1,3,4,6", "--json").document
            alone.pop("alternatives", None)
            assert answer == alone


@given(
    topologies(max_gpus=5),
    st.sets(st.integers(0, 4)),
    st.integers(1, 5),
)
def test_place_finds_what_trying_everything_finds(topology: NodeTopology, wanted: set[int], gpus: int) -> None:
    """The best ring's slowest link, then its sum, then the sum over all pairs, in tenths of GB/s."""
    free = sorted(gpu for gpu in wanted if gpu < len(topology))
    assume(len(free) >= gpus)

    answer = _answers("place", question(topology, free=free, gpus=gpus, communication="heavy"))[0]

    chosen = tuple(answer["gpus"])
    assert set(chosen) <= set(free)
    assert len(set(chosen)) == gpus
    best = max(_worth(topology, gpus) for gpus in combinations(free, gpus))
    assert _worth(topology, chosen) == best
    assert (round(answer["bandwidth_gbps"] * 10), round(answer["pair_sum_gbps"] * 10)) == (best[0], best[2])


@given(st.lists(st.binary(max_size=40) | st.from_regex(rb"\{.{0,30}\}", fullmatch=True), max_size=8))
def test_nothing_that_a_line_may_hold_ends_the_run(content: list[bytes]) -> None:
    joined = b"\n".join(content)
    answers = io.BytesIO()

    Batch(lambda topology: lambda *_: {"gpus": len(topology)}, 8).run(io.BytesIO(joined), answers)

    assert answers.getvalue().count(b"\n") == len(io.BytesIO(joined).readlines())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "topology": st.sampled_from([PAIR, TRIO, {}, None, {**PAIR, "nvlinks": []}]),
            "free": st.lists(st.integers(-1, 4) | st.none()) | st.none(),
            "gpus": st.integers(-1, 4) | st.text(),
            "communication": st.sampled_from([*Communication, "x", None, {}]),
        },
    )
)
def test_every_object_has_an_answer_or_an_error(asked: dict[str, object]) -> None:
    for command in ("place", "predict"):
        (answer,) = _answers(command, asked)
        assert ("error" in answer) != ("gpus" in answer or "outcomes" in answer)


def test_a_machine_seen_before_is_not_read_again() -> None:
    """The topology is told by its text."""
    seen = []

    def answerer_of(topology: NodeTopology) -> Callable[[int, int, Communication | None], Mapping[str, Any]]:
        seen.append(topology)
        return lambda free, size, _: {"free": free, "size": size}

    batch = Batch(answerer_of, 8)
    for topology in (PAIR, TRIO, PAIR, PAIR):
        batch.reply(orjson.dumps({"topology": topology, "free": [0], "gpus": 1}))

    assert [len(topology) for topology in seen] == [2, 3]


def _answers(command: str, *questions: object) -> list[Any]:
    """The answers of a command's batch, without the command line around it."""
    answerers = {
        "place": lambda topology: place.answerer(topology, WorthModel.RING, Wishes()),
        "predict": predict.answerer,
    }
    answers = io.BytesIO()
    Batch(answerers[command], 64).run(io.BytesIO(lines(*questions)), answers)
    return [orjson.loads(line) for line in answers.getvalue().splitlines()]


def _worth(topology: NodeTopology, gpus: tuple[int, ...]) -> tuple[int, int, int]:
    """What a set is worth, by trying every ring: the slowest link, the ring's sum, the pairs' sum."""
    pairs = sum(round(topology.bandwidth_gbps(*pair) * 10) for pair in combinations(gpus, 2))
    if len(gpus) < 3:
        return pairs, pairs, pairs
    first, *rest = gpus
    rings = (pairwise((first, *order, first)) for order in permutations(rest))
    links = [[round(topology.bandwidth_gbps(*pair) * 10) for pair in ring] for ring in rings]
    return (*max((min(ring), sum(ring)) for ring in links), pairs)
