"""Become another program that the kernel kills when this one's parent dies. Run as a script, by its path.

    python die_with_parent.py PARENT_PID COMMAND [ARGUMENT ...]

The kernel keeps the wish across exec (prctl(2), PR_SET_PDEATHSIG), so the program has this process's id and no process
stays between it and its parent. A `preexec_fn` would do the same, but may deadlock where the parent has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arm the death signal, then exec the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was armed
        sys.exit("The process that started this one is gone.")
    os.execv(command[0], command)  # noqa: S606 - exec without a shell is the point


if __name__ == "__main__":
    main()
