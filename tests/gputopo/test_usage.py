"""What happens to people who use it wrongly, and to programs that stop reading."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gputopo.conftest import Command
from tests.gputopo.dumps import PAIRS

GPUTOPO = [sys.executable, "-m", "gputopo"]
COMMANDS = ["parse", "show", "place", "predict", "nodes", "node", "pods", "top", "explain", "simulate"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["parse"],
        ["paint"],
        ["show"],
        ["show", "-", "--machine", "dgx-1v"],
        ["show", "--machine", "dgx-1v", "--product", "Tesla V100"],
        ["place", "-"],
        ["place", "-", "--gpus", "0"],
        ["place", "-", "--gpus", "two"],
        ["place", "-", "--gpus", "2", "--free", "0;1"],
        ["place", "-", "--gpus", "2", "--free", "0,0"],
        ["place", "-", "--gpus", "2", "--free", "-1"],
        ["place", "-", "--gpus", "2", "--require", "magic"],
        ["place", "-", "--gpus", "2", "--worth", "guess"],
        ["place", "-", "--gpus", "2", "--communication", "loud"],
        ["place", "-", "--gpus", "2", "--min-bandwidth-gbps", "-1"],
        ["place", "-", "--gpus", "2", "--min-bandwidth-gbps", "nan"],
        ["place", "--batch", "--gpus", "2"],
        ["place", "--batch", "--free", "0"],
        ["place", "--batch", "--machine", "dgx-1v"],
        ["predict", "-"],
        ["predict", "--batch", "--product", "Tesla V100"],
        ["predict", "-", "--gpus", "2", "--require", "nvlink"],
        ["simulate", "--jobs", "itp"],
        ["simulate", "--nodes", "a.yaml"],
        ["simulate", "--nodes", "a.yaml", "--cluster", "--jobs", "itp"],
        ["simulate", "--nodes", "a.yaml", "--jobs", "itp", "--trace", "b.csv"],
        ["simulate", "--nodes", "a.yaml", "--kubeconfig", __file__, "--jobs", "itp"],
        ["simulate", "--cluster", "--kubeconfig", "absent", "--jobs", "itp"],
        ["simulate", "--nodes", "a.yaml", "--jobs", "itp", "--loads", "0.5;0.7"],
        ["simulate", "--nodes", "a.yaml", "--jobs", "itp", "--loads", "0.5,0"],
        ["simulate", "--nodes", "a.yaml", "--jobs", "itp", "--loads", "nan"],
        ["simulate", "--nodes", "a.yaml", "--jobs", "itp", "--seeds", "0"],
        ["nodes", "--url", "http://127.0.0.1:1", "--context", "elsewhere"],
        ["nodes", "--links", "string"],
        ["nodes", "--free", "0"],
        ["nodes", "--sort", "chance"],
        ["node"],
        ["pods", "--pending", "--node", "a"],
        ["top", "--every", "0.1"],
        ["top", "--by", "rack"],
    ],
    ids=" ".join,
)
def test_a_wrong_usage_has_status_2_and_prints_nothing(gputopo: Command, arguments: list[str]) -> None:
    outcome = gputopo(*arguments, stdin=PAIRS)

    assert (outcome.status, outcome.output) == (2, "")
    assert "Usage: gputopo" in outcome.errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["parse", "absent.txt"], "absent.txt cannot be read: No such file or directory"),
        (["place", "--batch", "absent.jsonl"], "absent.jsonl cannot be read: No such file or directory"),
        (["show", "--machine", "abacus"], "there is no machine profile 'abacus'"),
        (["show", "-", "--svg", "absent/drawing.svg"], "cannot be written: No such file or directory"),
        (["place", "-", "--gpus", "5"], "4 of 4 GPUs free, 5 asked for"),
        (["place", "-", "--gpus", "1", "--free", ""], "0 of 4 GPUs free, 1 asked for"),
        (["place", "-", "--gpus", "2", "--free", "2,4"], "GPU 4 is said to be free, but the machine has 4 GPUs"),
        (["place", "-", "--gpus", "3", "--require", "nvlink"], "no 3 free GPUs are all linked by NVLink"),
        (["place", "-", "--gpus", "2", "--min-bandwidth-gbps", "999"], "no set of 2 reaches 999 GB/s"),
        (["place", "--machine", "pcie-8", "--gpus", "9"], "8 of 8 GPUs free, 9 asked for"),
        (["predict", "-", "--gpus", "5"], "5 GPUs cannot be picked from 4 free ones"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_input_that_cannot_be_used_is_one_sentence_and_status_1(
    gputopo: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)

    outcome = gputopo(*arguments, stdin=PAIRS)

    assert (outcome.status, outcome.output) == (1, "")
    assert outcome.errors.startswith("gputopo: ")
    assert sentence in outcome.errors
    assert len(outcome.errors.splitlines()) == 1


def test_broken_json_is_one_sentence_too(gputopo: Command) -> None:
    outcome = gputopo("show", "-", stdin='{"gpus": 2,')

    assert outcome.status == 1
    assert outcome.errors.startswith("gputopo: neither a matrix nor JSON: ")


def test_without_a_command_the_help_lists_them(gputopo: Command) -> None:
    outcome = gputopo()

    assert outcome.status == 2
    assert all(command in outcome.output + outcome.errors for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_has_json(gputopo: Command, command: str) -> None:
    outcome = gputopo(command, "--help")

    assert outcome.status == 0
    assert "--json" in outcome.output


def test_a_reader_that_goes_away_ends_the_program_quietly() -> None:
    """The answers are far more than a pipe holds, so it is still writing then."""
    line = b'{"topology":{"gpus":1,"pcie":[["X"]],"nvlinks":[[0]]},"free":[0],"gpus":1}\n'
    with subprocess.Popen(
        [*GPUTOPO, "place", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(line)
        program.stdin.flush()
        program.stdout.readline()
        program.stdout.close()
        _, errors = program.communicate(line * 3)

    assert errors == b""
    assert program.returncode == 1


def test_a_table_whose_reader_is_gone_leaves_no_trace() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*GPUTOPO, "show", "--machine", "dgx-1v"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert ended.stderr == b""
    assert ended.returncode == 1


def test_a_stack_trace_is_never_shown() -> None:
    ended = subprocess.run([*GPUTOPO, "parse", "-"], input=b"\x00\xff", capture_output=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith(b"gputopo: ")
    assert b"Traceback" not in ended.stderr
