"""The transcripts in the documentation, `$ command` and what it printed, compared with what happens."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.examples.shell import Shell
from tests.manifests.files import blocks_in

ASKING = ("kubectl get", "kubectl events", "gputopo")
"""How commands begin that change nothing, and may be given again until they print what is expected."""
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.2
STEP = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what it prints, in which `...` stands for what differs from run to run."""

    command: str
    prints: str

    @property
    def asks(self) -> bool:
        """Whether the command changes nothing."""
        return self.command.startswith(ASKING)


def transcripts_under(page: Path, heading: str) -> list[list[Step]]:
    """The transcripts in the section of a page under this heading of the second level, in their order."""
    [section] = [text for text in page.read_text().split("\n## ")[1:] if text.startswith(f"{heading}\n")]
    return [[Step(*found) for found in STEP.findall(block)] for block in blocks_in(section, "console")]


def follow(transcript: Iterable[Step], shell: Shell) -> None:
    """Give the commands of a transcript one after the other, and see that each prints what stands there."""
    for step in transcript:
        deadline = time.monotonic() + (PATIENCE_SECONDS if step.asks else 0.0)
        while not matches(step.prints, printed := shell.ask(step.command)):
            assert time.monotonic() < deadline, f"{step.command}\nprints\n{printed}\nand not\n{step.prints}"
            time.sleep(POLL_SECONDS)


def matches(expected: str, printed: str) -> bool:
    """Whether a command printed what is expected: `...` stands for anything, and blanks and line ends are all alike."""
    parts = (r"\s+".join(map(re.escape, part.split())) for part in expected.split("..."))
    return bool(re.fullmatch(".*".join(parts), printed.strip(), re.DOTALL))
