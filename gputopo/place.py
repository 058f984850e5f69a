"""`gputopo place`: the best set of a machine's free GPUs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Final

import typer

from gpu_topology.placement import WorthModel, gpus_of, tables_of
from gpu_topology.request import Communication, Require, Wishes
from gpu_topology.topology import NodeTopology
from gputopo.batch import Answerer, Batch
from gputopo.chosen import Chosen, Leftover, choose_set
from gputopo.machine_file import open_lines, read_machine
from gputopo.options import (
    BatchFlag,
    FileOrLines,
    Free,
    Gpus,
    Json,
    Machine,
    Product,
    free_mask,
    listed_gpus,
    refuse_in_batch,
    required_gpus,
)
from gputopo.output import console, gbps, gpu_list, print_json, table_of
from gputopo.rivals import Rival, rivals_of

_ANSWERS_KEPT: Final = 32768
"""Answers of a batch that are remembered: some 300 bytes each for 8 GPUs."""

_MOST_GBPS: Final = 1e6
"""More than any link carries; the bound also refuses what is not a number."""


def place(  # noqa: PLR0913 - one parameter for each option
    file: FileOrLines = None,
    *,
    gpus: Gpus = None,
    free: Free = None,
    require: Annotated[Require, typer.Option(help="What every two GPUs of the set must have in common.")] = Require.ANY,
    min_bandwidth_gbps: Annotated[
        float, typer.Option(min=0.0, max=_MOST_GBPS, help="The least bandwidth that the set may have, in GB/s.")
    ] = 0.0,
    communication: Annotated[
        Communication | None,
        typer.Option(show_default=False, help="How much the GPUs talk to each other; heavy above one GPU."),
    ] = None,
    worth: Annotated[WorthModel, typer.Option(help="How a set's bandwidth is found.")] = WorthModel.RING,
    alternatives: Annotated[int, typer.Option(min=0, help="How many kinds of next best sets are shown.")] = 3,
    machine: Machine = None,
    product: Product = None,
    batch: BatchFlag = False,
    as_json: Json = False,
) -> None:
    """Choose the best set of free GPUs; shows what it leaves, and why the next best sets lost."""
    wishes = Wishes(min_bandwidth_gbps, require, communication)
    if batch:
        refuse_in_batch(gpus=gpus, free=free, machine=machine, product=product)
        with open_lines(file) as lines:
            Batch(lambda each: answerer(each, worth, wishes), _ANSWERS_KEPT).run(
                lines, typer.get_binary_stream("stdout")
            )
        return
    size, listed = required_gpus(gpus), listed_gpus(free)
    topology = read_machine(file, machine, product)
    tables, mask = tables_of(topology, worth), free_mask(listed, topology)
    chosen = choose_set(tables, mask, size, wishes)
    rivals = rivals_of(chosen, tables, mask, wishes, alternatives)
    if as_json:
        print_json({**chosen.document(), "alternatives": [rival.document() for rival in rivals]})
    else:
        _show(chosen, rivals)


def answerer(topology: NodeTopology, worth: WorthModel, wishes: Wishes) -> Answerer:
    """Answers the lines about one machine.

    Args:
        topology: the machine.
        worth: how a set's bandwidth is found.
        wishes: of every line, but for the communication of those that say their own.

    Raises:
        PlacementError: the worth model does not fit the machine.
    """
    tables = tables_of(topology, worth)

    def answer(free: int, size: int, communication: Communication | None) -> Mapping[str, Any]:
        own = wishes if communication is None else replace(wishes, communication=communication)
        return choose_set(tables, free, size, own).document()

    return answer


def _show(chosen: Chosen, rivals: list[Rival]) -> None:
    table = table_of(
        "GPUs", "bandwidth", "all pairs", "leaves", "why not", "alike", title="The chosen set and the next best"
    )
    row = [gpu_list(chosen.gpus), gbps(chosen.worth.bandwidth_gbps), gbps(chosen.worth.pair_sum_gbps)]
    table.add_row(*row, f"{chosen.leftover.value:.4g}", "chosen", "", style="bold green")
    for rival in rivals:
        row = [gpu_list(gpus_of(rival.mask)), gbps(rival.worth.bandwidth_gbps), gbps(rival.worth.pair_sum_gbps)]
        table.add_row(*row, f"{rival.left:.4g}", rival.reason, str(rival.alike))
    console().print(table)
    leftover = chosen.leftover
    typer.echo(f"left free: GPUs {gpu_list(leftover.free)}; {_best_left(leftover)}")
    typer.echo(f"cost to the pods that come next: {-leftover.change:.2f} GPUs")
    if not chosen.exact:
        typer.echo("approximate: above 16 GPUs not every set is looked at")


def _best_left(leftover: Leftover) -> str:
    best = [f"best {size} at {gbps(bandwidth)}" for size, bandwidth in leftover.best_gbps.items()]
    return ", ".join(best) or "no pair"
