"""Opens what a command reads: the machine that it is about, or a batch's lines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import orjson
import typer

from gpu_topology.errors import DumpError, SettingsError
from gpu_topology.nvidia_smi import Dump, parse_topology_matrix
from gpu_topology.topology import NodeTopology
from gputopo.topology_json import topology_of
from topology_agent.profiles import load_machine

STANDARD_INPUT: Final = "-"


def read_machine(file: str | None, machine: str | None, product: str | None) -> NodeTopology:
    """The machine in a file, or a well-known one; warnings go to standard error.

    Args:
        file: path of a `nvidia-smi topo -m` output or of canonical JSON; "-" is standard input.
        machine: name of a well-known machine.
        product: the GPU model, for an output that does not show it.

    Raises:
        typer.BadParameter: both or neither are given, or a model for what is no output of `nvidia-smi`.
        GpuTopologyError: there is no machine in the file, or none of that name.
    """
    if (file is None) == (machine is None):
        raise typer.BadParameter("give either a file or --machine", param_hint="'FILE'")
    if machine is not None:
        _refuse_product(product)
        return load_machine(machine)
    text = read_text(file or STANDARD_INPUT)
    if text.lstrip().startswith("{"):
        _refuse_product(product)
        return _from_json(text)
    return read_dump(text, product).topology


def read_text(file: str) -> str:
    """The text of a file, or of standard input for "-"; bytes that are no UTF-8 are marked, not refused.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        content = typer.get_binary_stream("stdin").read() if file == STANDARD_INPUT else Path(file).read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    return content.decode("utf-8-sig", errors="replace")


def read_dump(text: str, product: str | None) -> Dump:
    """What a `nvidia-smi topo -m` output tells; warnings go to standard error.

    Raises:
        DumpError: it cannot be read without guessing.
    """
    dump = parse_topology_matrix(text, products=product)
    for warning in dump.warnings:
        sys.stderr.write(f"gputopo: warning: {warning}\n")
    return dump


@contextmanager
def open_lines(file: str | None) -> Iterator[BinaryIO]:
    """The lines of a file, or of standard input for "-" and None.

    Raises:
        SettingsError: it cannot be opened.
    """
    if file in (None, STANDARD_INPUT):
        yield typer.get_binary_stream("stdin")
        return
    try:
        lines = Path(file).open("rb")  # noqa: SIM115 - closed below; the caller's errors are not those of opening
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    with lines:
        yield lines


def _from_json(text: str) -> NodeTopology:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DumpError(f"neither a matrix nor JSON: {error}") from error
    return topology_of(document)


def _refuse_product(product: str | None) -> None:
    if product is not None:
        raise typer.BadParameter("is only for what `nvidia-smi topo -m` shows", param_hint="'--product'")
