"""Finds the cells of a `nvidia-smi topo -m` output in a text.

The output is a matrix with one row and one column for each GPU, then columns for the network cards, the CPUs and the
NUMA nodes near each GPU::

            GPU0    GPU1    NIC0    CPU Affinity    NUMA Affinity   GPU NUMA ID
    GPU0     X      NV12    PXB     0-31            0               N/A
    GPU1    NV12     X      SYS     32-63           1               N/A
    NIC0    PXB     SYS      X

It reaches us as people pass it on: tabs turned into blanks or lost, lines wrapped by a terminal, prefixed by a logger
or drawn as a table. Three facts make such a text safe to read. The names of links cannot be mistaken for one another
when the blanks between them are lost. A row has exactly as many links as the header has devices. Each row shows X in
its own column and nowhere else. What does not fit is refused, and so is a matrix without a header or with a row
missing: every pair must be shown from both sides, or a link that differs between them would go unseen.

Rows of network cards are skipped: the rows of the GPUs show the same links.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gpu_topology.errors import DumpError

_LINK_NAME: Final = r"X|SYS|SOC|NODE|PHB|PXB|PIX|PSB|NV[1-9][0-9]?(?![0-9,\-])"
_AFFINITY_NAME: Final = r"(?P<cpu>CPU\s*Affinity)|(?P<numa>NUMA(?:\s*Affinity)?)|(?P<gpu_numa>GPU\s*NUMA\s*ID)"
_NIC_NAME: Final = r"NIC[0-9]{1,3}|mlx[0-9]_(?:bond_)?[0-9]{1,3}|[a-z](?=\S*[0-9])[\w.:-]{0,40}"
"""NICs of recent drivers, InfiniBand devices of older ones, whose names end where the next begins if blanks are lost,
and any other name that the kernel gives."""

_LINK: Final = re.compile(rf"\s*({_LINK_NAME})")
_COLUMN: Final = re.compile(rf"\W*(?:(?P<gpu>GPU[0-9]{{1,3}})|{_AFFINITY_NAME}|(?P<nic>{_NIC_NAME}))")
_AFFINITY: Final = re.compile(r"N/A|-|[0-9][0-9,\-]*")

_HEADER: Final = re.compile(rf"\W*(?=GPU0\s*(?:GPU[0-9]|{_AFFINITY_NAME}|{_NIC_NAME}|$))")
_ROW: Final = re.compile(rf"\W*GPU([0-9]{{1,3}})\s*(?={_LINK_NAME}|[A-Z?]{{1,4}}(?![\w-])|$)")
"""A GPU's name, then a link, a short word in its place (`OK`, a garbled link) or nothing; no prose about a GPU."""
_WRAPPED: Final = re.compile(r"(?=.*[A-Z0-9])(?!.*NIC[0-9])[XSYOCNDEPHBIVA0-9,/\-\s]+")
"""The end of a row that a terminal broke in two: nothing but pieces of links and of affinities."""

_TERMINAL_ESCAPE: Final = re.compile(r"[\x1b\ufffd]?\[[0-9;]{0,9}m")
_LOG_PREFIX: Final = re.compile(r"(?:(?!GPU[0-9]).){0,80}?[0-9]{2}:[0-9]{2}:[0-9]{2}\S{0,40}\s")
_TABLE_BORDERS: Final = 2
"""A row of a drawn table has at least this many "|"."""
_SHOWN_CHARACTERS: Final = 40
"""How much of a cell an error shows."""

_P2P_STATUSES: Final = frozenset({"OK", "NS", "CNS", "GNS", "TNS", "DR", "U"})
"""What `nvidia-smi topo -p2p` shows where `topo -m` shows a link."""


class Row(NamedTuple):
    """What the matrix shows of one GPU.

    Attributes:
        gpus: its link to each GPU: "X", "NV2", "SYS"...
        nics: its link to each network card.
        affinities: the cells under "cpu", "numa" and "gpu_numa", as far as there are such columns; None where fewer
            cells are filled than there are columns and it cannot be told which.
    """

    gpus: tuple[str, ...]
    nics: tuple[str, ...]
    affinities: Mapping[str, str] | None


class Matrix(NamedTuple):
    """The cells of an output: a row for each GPU in index order, and the names of the network cards."""

    rows: tuple[Row, ...]
    nics: tuple[str, ...]


class _Columns(NamedTuple):
    """The header: `gpus` columns of GPUs, then the network cards, then the kinds of affinity."""

    gpus: int
    nics: tuple[str, ...]
    affinities: tuple[str, ...]

    def device(self, index: int) -> str:
        """The name above a column of links."""
        return f"GPU{index}" if index < self.gpus else self.nics[index - self.gpus]


@dataclass(frozen=True)
class _Stretch:
    """A header or a row: the line where it starts, what stands there, and what wrapping put on the lines below."""

    line: int
    start: str
    wrapped: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The header or row as one line."""
        return self.start + "".join(self.wrapped)


def read_matrix(text: str) -> Matrix:
    """The cells of the matrix in a text, whatever stands before and after it.

    `SOC`, the name of `SYS` in drivers before 384, is given as `SYS`.

    Raises:
        DumpError: there is no matrix, it is not one of links, a part is missing, or a cell cannot be read.
    """
    header, rows = _find_matrix(text)
    columns = _read_header(header)
    _require_a_row_for_each_column(rows, columns, header)
    return Matrix(tuple(_read_row(gpu, rows[gpu], columns) for gpu in range(columns.gpus)), columns.nics)


def _find_matrix(text: str) -> tuple[_Stretch, dict[int, _Stretch]]:
    """The header and the row of each GPU."""
    header: _Stretch | None = None
    rows: dict[int, _Stretch] = {}
    current: _Stretch | None = None
    for number, line in _clean_lines(text):
        if match := _HEADER.match(line):
            if header is not None:
                raise _refusal(number, line, "begins a second matrix, and only one can be read at a time")
            current = header = _Stretch(number, line[match.end() :])
        elif match := _ROW.match(line):
            gpu = int(match[1])
            if header is None:
                raise _refusal(number, line, "is a GPU's row without a header above it that names the columns")
            if gpu in rows:
                raise _refusal(number, line, f"is a second row of GPU{gpu}")
            current = rows[gpu] = _Stretch(number, line[match.end() :])
        elif current is not None and line.strip() and (current is header or _WRAPPED.fullmatch(line)):
            current.wrapped.append(line)
        else:
            current = None
    if header is None:
        raise DumpError("There is no header line with GPU0, GPU1 and so on, as `nvidia-smi topo -m` prints it")
    return header, rows


def _clean_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line's number and text, without terminal escapes, log prefixes and table borders."""
    for number, raw in enumerate(text.splitlines(), 1):
        line = _TERMINAL_ESCAPE.sub("", raw)
        if prefix := _LOG_PREFIX.match(line):
            line = line[prefix.end() :]
        yield number, _without_borders(line)


def _without_borders(line: str) -> str:
    """A row of a drawn table in nvidia-smi's order, which has the GPUs first; other lines as they are."""
    if line.count("|") < _TABLE_BORDERS:
        return line
    cells = [cell.strip() or "-" for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
    first = next((index for index, cell in enumerate(cells) if re.match("GPU[0-9]", cell)), 0)
    return "\t".join(cells[first:] + cells[:first])


def _read_header(header: _Stretch) -> _Columns:
    text = header.text
    found: list[tuple[str, str]] = []
    position = 0
    while match := _COLUMN.match(text, position):
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        position = match.end()
    if unknown := re.search(r"\w\S*", text[position:]):
        raise _refusal(header.line, unknown[0], "is not a column of `nvidia-smi topo -m`")
    gpus = [name for kind, name in found if kind == "gpu"]
    nics = [name for kind, name in found if kind == "nic"]
    devices = [f"GPU{index}" for index in range(len(gpus))] + nics
    affinities = [kind for kind, _ in found[len(devices) :]]
    if [name for _, name in found[: len(devices)]] != devices or len({*nics, *affinities}) < len(nics + affinities):
        raise _refusal(header.line, text, "does not name GPU0, GPU1 and so on in order, then the rest, each once")
    return _Columns(len(gpus), tuple(nics), tuple(affinities))


def _require_a_row_for_each_column(rows: Mapping[int, _Stretch], columns: _Columns, header: _Stretch) -> None:
    for gpu, row in rows.items():
        if gpu >= columns.gpus:
            raise _refusal(row.line, f"GPU{gpu}", "has a row but no column")
    for gpu in range(columns.gpus):
        if gpu not in rows:
            last = max((row.line for row in rows.values()), default=header.line)
            raise _refusal(last, f"GPU{gpu}", "has a column, but the matrix ends here without a row for it")


def _read_row(gpu: int, row: _Stretch, columns: _Columns) -> Row:
    text = row.text
    width = columns.gpus + len(columns.nics)
    links: list[str] = []
    position = 0
    while len(links) < width and (match := _LINK.match(text, position)):
        links.append("SYS" if match[1] == "SOC" else match[1])
        position = match.end()
    rest = text[position:]
    if len(links) < width:
        raise _not_a_link(row.line, rest, f"GPU{gpu}", columns.device(len(links)))
    for index, link in enumerate(links):
        # A row that has lost or gained a cell shows X in a wrong column, or NVLinks to a network card.
        if (link == "X") != (index == gpu) or (index >= columns.gpus and link.startswith("NV")):
            device = columns.device(index)
            raise _refusal(row.line, link, f"cannot be right in the row of GPU{gpu} and the column of {device}")
    return Row(
        tuple(links[: columns.gpus]),
        tuple(links[columns.gpus :]),
        _read_affinities(row.line, rest, columns.affinities),
    )


def _not_a_link(line: int, rest: str, row: str, column: str) -> DumpError:
    words = rest.split(maxsplit=1)
    if not words:
        return _refusal(line, row, f"is cut short: its row ends before the column of {column}")
    problem = f"is not a link, but stands in the row of {row} where its link to {column} should be"
    if words[0] in _P2P_STATUSES:
        problem += "; this looks like `nvidia-smi topo -p2p`, which shows no links"
    return _refusal(line, words[0], problem)


def _read_affinities(line: int, rest: str, names: tuple[str, ...]) -> Mapping[str, str] | None:
    """The CPU and NUMA cells by column, or None where there are fewer and it cannot be told which is missing."""
    words = re.sub(r"(?<=[0-9])N/A", " N/A", rest).split()
    for index, word in enumerate(words):
        if index >= len(names) or not _AFFINITY.fullmatch(word):
            raise _refusal(line, word, "stands after the last link but is no CPU or NUMA affinity of the header")
    if len(words) == len(names):
        return dict(zip(names, words, strict=True))
    if all(word in ("N/A", "-") for word in words):
        return dict.fromkeys(names, "N/A")
    cells = [cell.strip() for cell in rest.split("\t")[1:]]
    if names[-1] == "gpu_numa":  # nvidia-smi prints two tabs before this column
        cells = cells[:-2] + cells[-1:] if cells[-2:-1] == [""] else []
    if len(cells) == len(names) and [cell for cell in cells if cell] == words:
        return dict(zip(names, cells, strict=True))
    return None


def _refusal(line: int, cell: str, problem: str) -> DumpError:
    """One sentence that names the line and the cell, of which it shows the beginning."""
    shown = " ".join(cell[: 2 * _SHOWN_CHARACTERS].split())
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[: _SHOWN_CHARACTERS - 3] + "..."
    return DumpError(f'Line {line}: "{shown}" {problem}', line=line, cell=shown)
