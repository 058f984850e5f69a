"""The options that several commands have."""

from typing import Annotated, TypeAlias

import typer

from gpu_topology.errors import PlacementError
from gpu_topology.placement import mask_of
from gpu_topology.topology import NodeTopology

File: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE", show_default=False, help="What `nvidia-smi topo -m` shows, or canonical JSON; - is the input."
    ),
]
FileOrLines: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="As for the other commands; with --batch the JSON lines, which are read from the input if left out.",
    ),
]
Machine: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="A well-known machine instead of FILE, such as dgx-1v.")
]
Product: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The GPU model, which `topo -m` does not show; NVLink speeds depend on it."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Gpus: TypeAlias = Annotated[int | None, typer.Option(min=1, show_default=False, help="How many GPUs are asked for.")]
Free: TypeAlias = Annotated[
    str | None, typer.Option(metavar="0,1,5", show_default=False, help="The free GPUs; all, if left out.")
]
BatchFlag: TypeAlias = Annotated[
    bool, typer.Option("--batch", help="Answer JSON lines, one by one, until the input ends. See docs/gputopo.md.")
]


def listed_gpus(text: str | None) -> tuple[int, ...] | None:
    """The GPUs that `--free` lists, or None where it was not given.

    Raises:
        typer.BadParameter: it is not a list of different numbers.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(word.isascii() and word.isdigit() for word in words):
        raise typer.BadParameter(f"{text!r} is not a list of GPUs such as 0,1,5", param_hint="'--free'")
    gpus = tuple(int(word) for word in words)
    if len(set(gpus)) != len(gpus):
        raise typer.BadParameter(f"{text!r} names a GPU twice", param_hint="'--free'")
    return gpus


def free_mask(gpus: tuple[int, ...] | None, topology: NodeTopology) -> int:
    """The mask of the free GPUs of a machine; None is all of them.

    Raises:
        PlacementError: the machine does not have one of them.
    """
    free = range(len(topology)) if gpus is None else gpus
    foreign = [gpu for gpu in free if gpu >= len(topology)]
    if foreign:
        raise PlacementError(f"GPU {foreign[0]} is said to be free, but the machine has {len(topology)} GPUs")
    return mask_of(free)


def required_gpus(gpus: int | None) -> int:
    """The value of `--gpus` outside a batch.

    Raises:
        typer.BadParameter: it was not given.
    """
    if gpus is None:
        raise typer.BadParameter("must be given, unless there is --batch", param_hint="'--gpus'")
    return gpus


def refuse_in_batch(**options: object) -> None:
    """Check that options that a batch's lines decide are not given.

    Raises:
        typer.BadParameter: one is.
    """
    for name, value in options.items():
        if value not in (None, False):
            raise typer.BadParameter("does not go together with --batch", param_hint=f"'--{name}'")
