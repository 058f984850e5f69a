"""A program that waits for each answer before it writes the next line."""

import random
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

import orjson
import pytest

from gpu_topology.contract import encode_topology
from topology_agent.profiles import load_machine

MACHINE = orjson.loads(encode_topology(load_machine("dgx-1v")))


@pytest.fixture(params=["place", "predict"])
def program(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A batch that runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "gputopo", request.param, "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        yield running


def ask(program: subprocess.Popen[bytes], line: bytes) -> Any:
    """Write one line and read its answer."""
    _pipe(program.stdin).write(line + b"\n")
    _pipe(program.stdin).flush()
    return orjson.loads(_pipe(program.stdout).readline())


def test_every_answer_comes_before_the_next_line_is_written(program: subprocess.Popen[bytes]) -> None:
    """What is free next depends on what was answered, as in a scheduler's simulation."""
    chance = random.Random(1)
    free = list(range(8))
    ask(program, orjson.dumps({"id": "first", "topology": MACHINE, "free": free, "gpus": 1}))
    for number in range(50):
        size = chance.randint(1, 3)
        answer = ask(program, orjson.dumps({"id": number, "free": free, "gpus": size}))
        assert answer["id"] == number
        if size > len(free):
            assert "error" in answer
            free = list(range(8))
        else:
            taken = answer["gpus"] if "gpus" in answer else (answer["outcomes"] or [free[:size]])[0]
            assert set(taken) <= set(free)
            free = [gpu for gpu in free if gpu not in taken]


def test_a_bad_line_is_answered_before_the_next_too(program: subprocess.Popen[bytes]) -> None:
    assert "error" in ask(program, b"hello")
    assert ask(program, b'{"id":2}')["id"] == 2


def test_the_end_of_the_input_ends_the_program(program: subprocess.Popen[bytes]) -> None:
    rest, _ = program.communicate(b"")

    assert rest == b""
    assert program.returncode == 0


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
