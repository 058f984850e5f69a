"""Where the published data lie, and how their rows are read."""

import csv
from pathlib import Path
from typing import Final

from gpu_topology.errors import SettingsError

TRACES: Final = Path(__file__).parents[3] / "shared" / "traces"
"""Beside the repository: the data are not part of the project."""


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of one of the published CSV files.

    Raises:
        SettingsError: it is not there.
    """
    file = TRACES / name
    if not file.exists():
        raise SettingsError(f"the published data lie beside the repository, and ../shared/traces/{name} is not there")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
