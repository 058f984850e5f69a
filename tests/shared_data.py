"""Real machines' outputs and other published data, which lie beside the repository and are not part of it."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def shared(path: str) -> Path:
    """A file or folder of the shared data; skips the test where it is absent, or fails it where CI=true."""
    found = SHARED / path
    if not found.exists():
        reason = f"the shared data lies beside the repository, and ../shared/{path} is not there"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
