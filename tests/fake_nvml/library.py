"""Building the fake library with a C compiler, and NVML's header from its PyPI package."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from tests.c_compiler import NoCompilerError, c_compiler
from tests.go_toolchain import cache_root

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER / "requirements.txt"
DOWNLOAD_SECONDS = 120


class FakeNvmlError(Exception):
    """The fake library cannot be built here."""


def build(folder: Path) -> Path:
    """Build libnvidia-ml.so.1 into a folder, which LD_LIBRARY_PATH is then to name.

    Raises:
        FakeNvmlError: there is no C compiler, or nvml.h cannot be had.
    """
    try:
        compiler = c_compiler()
    except NoCompilerError as error:
        raise FakeNvmlError(str(error)) from error
    library = folder / "libnvidia-ml.so.1"
    sources = [str(source) for source in sorted(FOLDER.glob("*.c"))]
    options = ["-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-Wall", "-Wextra", "-Wno-deprecated-declarations"]
    include = ["-I", str(header().parent)]
    _run([*compiler, *options, "-shared", "-fPIC", *include, "-o", str(library), *sources], "compiling the fake NVML")
    return library


def header() -> Path:
    """nvml.h, downloaded once into the cache folder.

    Raises:
        FakeNvmlError: it cannot be downloaded.
    """
    version = re.search(r"nvidia-nvml-dev==(\S+)", REQUIREMENTS.read_text())
    if version is None:
        raise FakeNvmlError(f"{REQUIREMENTS.name} does not pin nvidia-nvml-dev.")
    file = cache_root() / f"nvidia-nvml-dev-{version[1]}" / "nvml.h"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as unfinished:
            _download(Path(unfinished)).replace(file)
    return file


def error_codes() -> dict[str, int]:
    """Every error that nvml.h names, and its code.

    Raises:
        FakeNvmlError: nvml.h cannot be had.
    """
    named = re.findall(r"^\s*(NVML_ERROR_\w+)\s*=\s*(\d+)", header().read_text(encoding="utf-8"), re.MULTILINE)
    return {name: int(code) for name, code in named}


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    one_wheel = ["--only-binary=:all:", "--platform=manylinux2014_x86_64", "--require-hashes"]
    _run([*pip, *one_wheel, "--dest", str(folder), "--requirement", str(REQUIREMENTS)], "downloading nvml.h")
    [wheel] = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/nvml.h")]
        return Path(archive.extract(name, folder))


def _run(command: list[str], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise FakeNvmlError(f"{what} took longer than {DOWNLOAD_SECONDS} s") from error
    if done.returncode != 0:
        raise FakeNvmlError(f"{what} failed: {done.stderr.strip()}")
