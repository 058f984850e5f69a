"""docs/gputopo.md says what the commands do."""

import re
import shlex
from pathlib import Path

import orjson
import pytest

from gputopo.__main__ import app
from tests.gputopo.conftest import Command

PAGE = (Path(__file__).parents[2] / "docs" / "gputopo.md").read_text(encoding="utf-8")
COMMANDS = [command.callback for command in app.registered_commands if command.callback is not None]
EXAMPLES = [line.removeprefix("$ gputopo ") for line in PAGE.splitlines() if line.startswith("$ gputopo ")]
QUESTION, REFUSAL, PLACED, PREDICTED = map(orjson.loads, re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_and_each_of_its_options_is_described(gputopo: Command, command: object) -> None:
    name = getattr(command, "__name__", "")
    options = set(re.findall(r"--[a-z-]+[a-z]", gputopo(name, "--help").output)) - {"--help"}

    assert f"## `gputopo {name} " in PAGE
    assert len(options) >= 2
    assert [option for option in options if not re.search(rf"[` ]{option}\b", PAGE)] == []


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_works(gputopo: Command, example: str) -> None:
    assert gputopo(*shlex.split(example)).status == 0


@pytest.mark.parametrize(("command", "shown"), [("place", PLACED), ("predict", PREDICTED)])
def test_the_answers_have_the_keys_that_are_shown(gputopo: Command, command: str, shown: dict[str, object]) -> None:
    (answer,) = gputopo(command, "--batch", stdin=orjson.dumps(QUESTION)).lines

    assert list(answer) == list(shown)
    if command == "predict":
        assert answer == shown
    else:
        assert list(answer["leftover"]) == ["free", "value", "change", "best_gbps"]


def test_a_refusal_looks_as_it_is_shown(gputopo: Command) -> None:
    (answer,) = gputopo("place", "--batch", stdin=orjson.dumps({**QUESTION, "free": [0], "gpus": 3})).lines

    assert answer == REFUSAL


@pytest.mark.parametrize("key", [*QUESTION, *PLACED, *PREDICTED, *(f"leftover.{key}" for key in PLACED["leftover"])])
def test_every_key_of_a_batch_is_described(key: str) -> None:
    assert f"| `{key}" in PAGE
