"""Lists of any length as aligned columns, made quickly: Rich takes seconds for thousands of rows. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

import typer
from rich.cells import cell_len, set_cell_size

from gputopo.output import printable

_GAP: Final = "  "
_CUT: Final = "…"
_LEAST: Final = 12
"""Characters that a column keeps that gives way."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list.

    Attributes:
        title: its heading.
        right: whether it is aligned to the right, as numbers are.
        gives_way: whether its cells are cut where the terminal is too narrow; what people copy never is.
        optional: whether it is left out where that is not enough, the rightmost first.
    """

    title: str
    right: bool = False
    gives_way: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and its colour, one of those that `typer.style` knows; None for the terminal's own."""

    text: str
    colour: str | None = None


Row = Sequence[Cell | str]


def lines_of(columns: Sequence[Column], rows: Iterable[Row], width: int | None = None) -> Iterator[str]:
    """The heading and the rows, with colours as ANSI escapes.

    Args:
        columns: what the cells of each row are, from left to right.
        rows: of any text; what could colour, move or reorder the output is shown as its escape.
        width: characters in a line of the terminal; None where nothing is to be cut.
    """
    cells = [[_harmless(cell) for cell in row] for row in rows]
    heading = [Cell(column.title) for column in columns]
    table = [
        _Shown(place, column, max(cell_len(row[place].text) for row in chain([heading], cells)))
        for place, column in enumerate(columns)
    ]
    if width is not None:
        table = _narrowed(table, width)
    yield typer.style(_line(table, heading), bold=True)
    for row in cells:
        yield _line(table, row)


class _Shown(NamedTuple):
    """A column that is shown: its place in the rows, and how many characters wide it is."""

    place: int
    column: Column
    width: int


def _harmless(cell: Cell | str) -> Cell:
    return Cell(printable(cell)) if isinstance(cell, str) else Cell(printable(cell.text), cell.colour)


def _narrowed(table: Sequence[_Shown], width: int) -> list[_Shown]:
    """The columns that fit into so many characters, or come as near to that as they can."""
    shown = list(table)
    while (excess := _width(shown) - width) > 0:
        yielding = [each for each in shown if each.column.gives_way and each.width > _LEAST]
        optional = [each for each in shown if each.column.optional]
        if sum(each.width - _LEAST for each in yielding) >= excess or (yielding and not optional):
            widest = max(yielding, key=lambda each: each.width)
            shown[shown.index(widest)] = widest._replace(width=widest.width - 1)
        elif optional:
            shown.remove(optional[-1])
        else:
            break
    return shown


def _width(table: Sequence[_Shown]) -> int:
    return sum(each.width for each in table) + len(_GAP) * (len(table) - 1)


def _line(table: Sequence[_Shown], row: Sequence[Cell]) -> str:
    padded = (_padded(each.column, row[each.place], each.width) for each in table)
    return _GAP.join(padded).rstrip()


def _padded(column: Column, cell: Cell, width: int) -> str:
    text, length = cell.text, cell_len(cell.text)
    if length > width:
        text, length = set_cell_size(text, width - 1) + _CUT, width
    styled = typer.style(text, fg=cell.colour) if cell.colour and text else text
    blanks = " " * (width - length)
    return blanks + styled if column.right else styled + blanks
