"""Lists as aligned columns."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gputopo.columns import Cell, Column, lines_of

NAMES = [Column("NAME"), Column("SIZE", right=True), Column("NOTES", gives_way=True)]


def shown(columns: list[Column], rows: list[list[Cell | str]], width: int | None = None) -> list[str]:
    """The lines without their colours."""
    return [re.sub(r"\x1b\[\d+m", "", line) for line in lines_of(columns, rows, width)]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert shown(NAMES, [["a", "10", "good"], ["longer", "5", ""]]) == [
        "NAME    SIZE  NOTES",
        "a         10  good",
        "longer     5",
    ]


def test_a_list_without_rows_has_its_heading() -> None:
    assert shown(NAMES, []) == ["NAME  SIZE  NOTES"]


def test_wide_characters_take_two_places() -> None:
    assert shown([Column("A"), Column("B")], [["東京", "x"], ["abc", "y"]]) == ["A     B", "東京  x", "abc   y"]


def test_a_narrow_terminal_cuts_what_gives_way_and_nothing_else() -> None:
    lines = shown(NAMES, [["a-name-that-people-copy", "10", "a long story of what is wrong"]], width=50)
    assert lines[1] == "a-name-that-people-copy    10  a long story of wh…"
    assert max(map(len, lines)) <= 50


def test_what_is_optional_goes_where_cutting_is_not_enough() -> None:
    columns = [Column("NAME"), Column("AGE", optional=True), Column("BAR", optional=True)]
    rows: list[list[Cell | str]] = [["a-name-of-20-letters", "10d", "##########"]]
    assert shown(columns, rows, width=30) == ["NAME                  AGE", "a-name-of-20-letters  10d"]
    assert shown(columns, rows, width=22) == ["NAME", "a-name-of-20-letters"]
    assert shown(columns, rows, width=5) == ["NAME", "a-name-of-20-letters"]


def test_a_colour_takes_no_place() -> None:
    plain, coloured = ([*lines_of([Column("A"), Column("B")], [[cell, "x"]])][1] for cell in ("up", Cell("up", "red")))
    assert coloured == plain.replace("up", "\x1b[31mup\x1b[0m")


@pytest.mark.parametrize(
    ("text", "as_shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\nb\rc\td\x07", r"a\nb\rc\td\x07"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("[red]not markup[/red] :smile:", "[red]not markup[/red] :smile:"),
        ("\x9b31m", r"\x9b31m"),
        ("Zürich", "Zürich"),
    ],
)
def test_text_of_others_can_neither_colour_nor_move_anything(text: str, as_shown: str) -> None:
    assert [*lines_of([Column("A")], [[text]])][1] == as_shown


@given(
    rows=st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=5),
    width=st.integers(min_value=30, max_value=90),
)
def test_lists_fit_where_all_columns_give_way(rows: list[tuple[str, str]], width: int) -> None:
    columns = [Column("FIRST", gives_way=True), Column("SECOND", gives_way=True)]
    lines = shown(columns, [list(row) for row in rows], width)
    assert len(lines) == 1 + len(rows)
    assert all(line.isprintable() and cell_len(line) <= width for line in lines)
