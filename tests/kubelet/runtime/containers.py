"""A container: a process of this machine, without an image and without isolation."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tests.control_plane.processes import LAUNCHER
from tests.kubelet.runtime.cri import NoSuchObjectError, messages

COMMAND_OF_EVERY_IMAGE = ("sleep", "infinity")
"""What a container runs whose pod names no command."""
SIGNAL_EXIT_CODE = 128
"""An exit code above this one is a signal's number more, as shells and container runtimes count."""


class Container:
    """One container, created but not started yet.

    Its process dies with this one, however this one dies.

    Attributes:
        status: what CRI tells of it, a `ContainerStatus`.
        sandbox: the id of its pod.
    """

    def __init__(self, status: Any, sandbox: str, config: Any) -> None:
        self.status = status
        self.sandbox = sandbox
        self._config = config
        self._ended: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start its process.

        Raises:
            NoSuchObjectError: there is no such program on this machine.
        """
        environment = _environment(self._config.envs)
        command = _command(self._config, environment)
        with _opened(self.status.log_path) as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._config.working_dir or "/",
                start_new_session=True,
            )
        self.status.state = messages.CONTAINER_RUNNING
        self.status.started_at = time.time_ns()
        self._ended = asyncio.create_task(self._note_end(self._process))

    async def stop(self, grace_seconds: float) -> None:
        """End its processes, by force after so many seconds, and wait for that. Idempotent."""
        if self._ended is None:
            return
        if grace_seconds > 0:
            self._signal(signal.SIGTERM)
            await asyncio.wait([self._ended], timeout=grace_seconds)
        self._signal(signal.SIGKILL)
        await self._ended

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _note_end(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        self.status.finished_at = time.time_ns()
        self.status.exit_code = code if code >= 0 else SIGNAL_EXIT_CODE - code
        self.status.reason = "Error" if code else "Completed"
        self.status.state = messages.CONTAINER_EXITED


def _opened(log: str) -> IO[bytes]:
    return Path(log).open("ab")


def _environment(variables: Sequence[Any]) -> dict[str, str]:
    given = {variable.key: variable.value.decode() for variable in variables}
    return {"PATH": os.environ["PATH"], **given}


def _command(config: Any, environment: Mapping[str, str]) -> list[str]:
    program, *arguments = [*config.command, *config.args] or COMMAND_OF_EVERY_IMAGE
    path = shutil.which(program, path=environment["PATH"])
    if path is None:
        raise NoSuchObjectError(f"There is no program {program} on this machine.")
    return [path, *arguments]
