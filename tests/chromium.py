"""A Chromium for the tests of what people see."""

import os
import shutil
import subprocess
from functools import cache

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)
"""So that it talks to nobody but the page."""
INSTALL_SECONDS = 600


@cache
def chromium() -> str:
    """The path of a Chromium: the installed one, or in a CI's container Debian's; skips the test without one.

    With `CI=true` the test fails instead.
    """
    is_ci = os.environ.get("CI") == "true"
    if is_ci and not _found() and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]):
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    found = _found()
    if found is None:
        (pytest.fail if is_ci else pytest.skip)(f"There is no Chromium on PATH, under none of {', '.join(NAMES)}")
    return str(found)


def arguments() -> list[str]:
    """What it is started with. Root has no sandbox; the tests show it nothing but their own page."""
    return [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
