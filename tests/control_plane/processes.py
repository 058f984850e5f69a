"""Child processes that are started, awaited and ended exactly: by their own handle, never by name."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Self

LAUNCHER = Path(__file__).with_name("die_with_parent.py")
LOG_LINES = 20
POLL_SECONDS = 0.05


class ProcessError(Exception):
    """A program ended or stayed silent where it should have become ready."""


class ChildProcess:
    """One program, which can be started, stopped, killed and started again with the same command.

    It runs in a process group of its own, so that a Ctrl-C in the terminal reaches it only through us, and it dies with
    this process, however that dies. As a context manager it starts unless it runs already, and is stopped at the end.

    Args:
        name: What errors call it.
        command: The program's path and its arguments.
        log: The file that its standard output and error are appended to.
        ready: Says whether it serves already; asked again and again while the program starts.
        ready_within: Seconds that the program may take to become ready.
        environment: Variables in addition to our own.
    """

    def __init__(  # noqa: PLR0913 - each is independent of the others and has a name
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        ready: Callable[[], bool],
        ready_within: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._ready = ready
        self._ready_within = ready_within
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the program and wait until it is ready.

        Raises:
            ProcessError: It runs already, ends, or is not ready in time; the message has the end of its log. It is not
                left running.
        """
        if self.running:
            raise ProcessError(f"{self.name} runs already, as process {self.pid}.")
        with self.log.open("ab") as log:
            self._process = _spawner().submit(self._spawn, log).result()
        try:
            self._wait_until_ready(self._process)
        except BaseException:  # an interrupt counts too: nothing may be left running
            self.kill()
            raise
        return self

    def stop(self, patience: float = 10.0) -> None:
        """Ask the program to end, wait, and kill it if it has not ended after `patience` seconds. Idempotent."""
        if self.running:
            os.killpg(self.pid, signal.SIGTERM)
            try:
                self._handle().wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the program's whole group at once, with SIGKILL, and wait for the program. Idempotent."""
        # A group is signalled only before its leader is reaped: until then nobody else can be given its id.
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self._handle().wait()

    @property
    def running(self) -> bool:
        """Whether the program has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the program as started last.

        Raises:
            ProcessError: It has never been started.
        """
        return self._handle().pid

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """The last lines of the log, or the empty string where there is none yet."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *self._command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | self._environment,
            start_new_session=True,
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._ready_within
        while not self._ready():
            try:
                status = process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
                raise self._failure(f"is not ready after {self._ready_within:g} s") from None
            raise self._failure(f"ended with exit status {status} while it started")

    def _failure(self, what: str) -> ProcessError:
        return ProcessError(f"{self.name} {what}. The end of {self.log}:\n{self.log_tail()}")

    def _handle(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProcessError(f"{self.name} has not been started.")
        return self._process


@cache
def _spawner() -> ThreadPoolExecutor:
    """A thread that lives as long as this process: the kernel's death signal follows the thread that forked."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")
