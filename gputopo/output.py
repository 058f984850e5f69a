"""How answers are printed."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

NO_MATCH: Final = 1
"""The exit status of a list in which nothing is."""
_WIDTH_OF_FILES: Final = 200
"""Characters."""


def print_json(document: Any) -> None:
    """Print a document as one line of JSON."""
    typer.echo(orjson.dumps(document))


def console() -> Console:
    """Where tables go: as wide as the terminal, or wide enough for 16 GPUs and without colours where there is none."""
    output = Console(highlight=False, markup=False, emoji=False)
    if not output.is_terminal:
        output.width = _WIDTH_OF_FILES
    return output


def table_of(*headers: str, title: str | None = None) -> Table:
    """A table without frames, to which rows are added."""
    return Table(*headers, title=title, title_justify="left", box=SIMPLE_HEAD)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, without their colours where there is no terminal or NO_COLOR is set."""
    typer.echo("\n".join(lines), color=False if Console().no_color else None)


def terminal_width() -> int | None:
    """Characters in a line of the terminal; None where the output is none, so that nothing need be cut."""
    output = Console()
    return output.width if output.is_terminal else None


def printable(text: str) -> str:
    """A text that others wrote, with the escapes of Python for what could colour, move or reorder the output."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def age(since: str | None, now: datetime) -> str:
    """How long ago a moment in RFC 3339 was, as kubectl says it: "40s", "5m", "3h", "2d"; "?" where unknown."""
    try:
        then = datetime.fromisoformat(since or "")
    except ValueError:
        return "?"
    if then.tzinfo is None:
        return "?"
    return duration(now - then)


def duration(time: timedelta) -> str:
    """A duration in its largest unit but one: below two of a unit the smaller unit says more."""
    seconds = max(int(time.total_seconds()), 0)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 node", "2 nodes"."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def gpu_list(gpus: Iterable[int]) -> str:
    """GPUs as a person reads them: "0, 1, 5"; "none" where there are none."""
    return ", ".join(str(gpu) for gpu in gpus) or "none"


def gbps(value: float) -> str:
    """A bandwidth as a person reads it."""
    return f"{value:.1f} GB/s"
