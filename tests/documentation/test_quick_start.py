"""Every command of the quick start that needs no cluster does what the page shows."""

import os
import subprocess
import sys
from collections.abc import Iterator
from shlex import quote

import pytest

from tests.end_to_end.examples.transcript import Step, matches, transcripts_in
from tests.manifests.files import REPOSITORY

PAGE = REPOSITORY / "docs" / "quick-start.md"
PYTHON = quote(sys.executable)
HERE = {".venv/bin/gputopo": f"{PYTHON} -m gputopo", "make demo": f"{PYTHON} -m benchmarks demo"}
"""What stands in a transcript, and what it comes to in the environment of the tests."""
ENVIRONMENT = os.environ | {"COLUMNS": "120", "NO_PROXY": "127.0.0.1"}
STEPS = [step for transcript in transcripts_in(PAGE.read_text()) for step in transcript]
WITH_ADDRESS = [step for step in STEPS if "127.0.0.1" in step.command]


def run(command: str) -> str:
    """What a command prints."""
    for shown, meant in HERE.items():
        command = command.replace(shown, meant)
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@pytest.fixture(scope="module")
def printed_commands() -> Iterator[list[str]]:
    """The commands that a demonstration prints which stays up."""
    command = [sys.executable, "-m", "benchmarks", "demo", "--keep"]
    with subprocess.Popen(command, cwd=REPOSITORY, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        commands: list[str] = []
        for line in demo.stdout:
            if line.startswith("  "):
                commands.append(line.strip())
            if "/metrics" in line:
                break
        yield commands
        demo.terminate()


@pytest.mark.parametrize("step", [step for step in STEPS if step not in WITH_ADDRESS], ids=lambda step: step.command)
def test_each_command_prints_what_the_page_shows(step: Step) -> None:
    assert matches(step.prints, run(step.command))


def test_the_extender_answers_what_the_page_shows(printed_commands: list[str]) -> None:
    """In the order of the page; the demonstration prints the commands with its address."""
    for step in WITH_ADDRESS:
        [command] = [printed for printed in printed_commands if matches(step.command, printed)]
        assert matches(step.prints, run(command)), step.command
