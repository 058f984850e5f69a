"""Runs the command line in this process."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import structlog

from gputopo.__main__ import main


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        """The output as JSON."""
        return orjson.loads(self.output)

    @property
    def lines(self) -> list[Any]:
        """Each line of the output as JSON."""
        return [orjson.loads(line) for line in self.output.splitlines()]


Command = Callable[..., Outcome]


@pytest.fixture
def gputopo(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Command:
    """Run `gputopo` with these arguments and this standard input."""

    def run(*arguments: object, stdin: str | bytes = "") -> Outcome:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "argv", ["gputopo", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        logging = structlog.get_config()
        with pytest.raises(SystemExit) as end:
            main()
        structlog.configure(**logging)
        output, errors = capfdbinary.readouterr()
        return Outcome(int(end.value.code or 0), output.decode(), errors.decode())

    return run
