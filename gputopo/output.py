"""How answers are printed."""

from collections.abc import Iterable
from typing import Any, Final

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_WIDTH_OF_FILES: Final = 200
"""Characters."""


def print_json(document: Any) -> None:
    """Print a document as one line of JSON."""
    typer.echo(orjson.dumps(document))


def console() -> Console:
    """Where tables go: as wide as the terminal, or wide enough for 16 GPUs and without colours where there is none."""
    output = Console(highlight=False)
    if not output.is_terminal:
        output.width = _WIDTH_OF_FILES
    return output


def table_of(*headers: str, title: str | None = None) -> Table:
    """A table without frames, to which rows are added."""
    return Table(*headers, title=title, title_justify="left", box=SIMPLE_HEAD)


def gpu_list(gpus: Iterable[int]) -> str:
    """GPUs as a person reads them: "0, 1, 5"; "none" where there are none."""
    return ", ".join(str(gpu) for gpu in gpus) or "none"


def gbps(value: float) -> str:
    """A bandwidth as a person reads it."""
    return f"{value:.1f} GB/s"
