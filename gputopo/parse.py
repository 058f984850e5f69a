"""`gputopo parse`: what `nvidia-smi topo -m` shows, as the canonical JSON or as its cells."""

from typing import Annotated

import typer

from gpu_topology.contract import encode_topology
from gpu_topology.nvidia_smi_cells import read_matrix
from gputopo.machine_file import read_dump, read_text
from gputopo.options import Json, Product
from gputopo.output import print_json


def parse(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `nvidia-smi topo -m` shows; - is the input.")],
    *,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Print the cells between GPUs as they are shown, nothing else.")
    ] = False,
    product: Product = None,
    as_json: Json = False,
) -> None:
    """Read what `nvidia-smi topo -m` shows; prints canonical JSON."""
    text = read_text(file)
    topology = read_dump(text, product).topology
    if not matrix:
        typer.echo(encode_topology(topology))
        return
    rows = [row.gpus for row in read_matrix(text).rows]
    if as_json:
        print_json(rows)
    else:
        typer.echo("\n".join(" ".join(row) for row in rows))
