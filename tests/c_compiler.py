"""A C compiler: the one on PATH, else the one that PyPI has as a wheel.

Only tests need one: the fake NVML library is C, and NVIDIA's device plugin is Go that calls C.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.go_toolchain import cache_root, exclusive

REQUIREMENTS = Path(__file__).with_name("c_compiler_requirements.txt")
INSTALL_SECONDS = 600


class NoCompilerError(Exception):
    """There is no C compiler, and none can be installed."""


def c_compiler() -> list[str]:
    """The command that compiles C, to which options and files are appended.

    The wheel is Zig, whose `zig cc` is a complete C compiler with its own headers.

    Raises:
        NoCompilerError: none is on PATH, and the wheel cannot be installed.
    """
    on_path = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    return [on_path] if on_path else [str(_zig()), "cc"]


def _zig() -> Path:
    """The `zig` program, installed into the cache folder on first use."""
    folder = cache_root() / REQUIREMENTS.read_text().split()[0].replace("==", "-")
    program = folder / "ziglang" / "zig"
    if not program.exists():
        with exclusive(folder.parent):
            if not program.exists():
                _install(folder)
    return program


def _install(folder: Path) -> None:
    sys.stderr.write("no C compiler on PATH: installing the wheel ziglang, some 80 MB\n")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
    ]
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        target = Path(unfinished) / "target"
        options = [
            "--only-binary=:all:",
            "--require-hashes",
            "--target",
            str(target),
            "--requirement",
            str(REQUIREMENTS),
        ]
        done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
        if done.returncode != 0:
            raise NoCompilerError(f"There is no C compiler, and installing ziglang failed: {done.stderr.strip()}")
        target.replace(folder)
