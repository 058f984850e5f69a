"""Runs the command line in a terminal, as a person does."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SOON = 30.0
"""Seconds within which a program that is started has shown something, on a busy machine too."""

# What a shell runs in the background ignores Ctrl-C, and so does all that it starts: these tests perhaps.
PROGRAM = """
import signal
from gputopo.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


class Terminal:
    """A program in a terminal of its own.

    Attributes:
        program: the program.
    """

    def __init__(self, program: subprocess.Popen[bytes], ours: int) -> None:
        self.program = program
        self._ours = ours
        self._seen = b""

    def wait_for(self, pattern: str, seconds: float = SOON) -> None:
        """Read until something is shown."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern.encode(), self._seen):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self._seen!r}"
            self._read()

    def interrupt(self) -> int:
        """Do what Ctrl-C does and wait for the end; the exit status."""
        self.program.send_signal(signal.SIGINT)
        deadline = time.monotonic() + SOON
        while self.program.poll() is None:
            assert time.monotonic() < deadline, "Ctrl-C does not end it"
            self._read()
        with suppress(OSError):  # the last of it, then the other end is gone
            while self._read():
                pass
        return self.program.returncode

    @property
    def text(self) -> str:
        """All that was shown."""
        return self._seen.decode()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 0.1)
        if ready:
            with suppress(OSError):
                self._seen += os.read(self._ours, 65536)
                return True
        return False


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """`gputopo` in a terminal of 30 lines and 120 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as program:
        os.close(theirs)
        try:
            yield Terminal(program, ours)
        finally:
            program.kill()
    os.close(ours)
