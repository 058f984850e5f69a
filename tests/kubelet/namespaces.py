"""Private mount namespaces: programs that see other files than the rest of the machine does."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

PRIVATE = ("--mount", "--propagation", "private")


def in_private_mounts(mounts: Mapping[str, Path], command: Sequence[str]) -> list[str]:
    """A command that runs another one in a new mount namespace, as the same process.

    Args:
        mounts: from a file or folder of the machine to the one that the command is to see in its place.
        command: its path and its arguments.
    """
    binds = [shlex.join(["mount", "--bind", str(source), target]) for target, source in mounts.items()]
    script = "\n".join([*binds, 'exec "$@"'])
    return [_path("unshare"), *PRIVATE, "sh", "-ec", script, "sh", *command]


def beside(process: int, command: Sequence[str]) -> list[str]:
    """A command that runs another one in the mount namespace of a process, as the same process."""
    return [_path("nsenter"), "--mount", "--target", str(process), *command]


@cache
def why_there_are_none() -> str | None:
    """Why this user cannot make private mount namespaces on this machine; None where it can."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "Private mount namespaces take Linux's unshare and nsenter."
    tried = subprocess.run(["unshare", *PRIVATE, "true"], capture_output=True, text=True, check=False)
    return f"No private mount namespace: {tried.stderr.strip()}." if tried.returncode else None


def _path(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"There is no program {program}.")
    return found
