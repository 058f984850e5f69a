"""`gputopo predict`: which sets the vendor's device plugin may pick when nobody steers it."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

import typer

from gpu_topology.placement import LinkTables, gpus_of, tables_of
from gpu_topology.placement.link_graph import LinkGraph, link_graph_of
from gpu_topology.placement.vendor import Prediction
from gpu_topology.placement.vendor import predict as vendor_prediction
from gpu_topology.request import Communication
from gpu_topology.topology import NodeTopology
from gputopo.batch import Answerer, Batch
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

_ANSWERS_KEPT: Final = 1024
"""Answers of a batch that are remembered: few, as one may list 12,870 sets."""

_MOST_SHOWN: Final = 20


def predict(  # noqa: PLR0913 - one parameter for each option
    file: FileOrLines = None,
    *,
    gpus: Gpus = None,
    free: Free = None,
    machine: Machine = None,
    product: Product = None,
    batch: BatchFlag = False,
    as_json: Json = False,
) -> None:
    """List the sets that the vendor's device plugin may pick from the free GPUs."""
    if batch:
        refuse_in_batch(gpus=gpus, free=free, machine=machine, product=product)
        with open_lines(file) as lines:
            Batch(answerer, _ANSWERS_KEPT).run(lines, typer.get_binary_stream("stdout"))
        return
    size, listed = required_gpus(gpus), listed_gpus(free)
    topology = read_machine(file, machine, product)
    prediction = _prediction(link_graph_of(topology), free_mask(listed, topology), size)
    if as_json:
        print_json(_document(prediction))
    else:
        _show(prediction, tables_of(topology))


def answerer(topology: NodeTopology) -> Answerer:
    """Answers the lines about one machine."""
    graph = link_graph_of(topology)

    def answer(free: int, size: int, _: Communication | None) -> Mapping[str, Any]:
        return _document(_prediction(graph, free, size))

    return answer


def _prediction(graph: LinkGraph, free: int, size: int) -> Prediction:
    return vendor_prediction(graph.vendor_scores, free, size, highest=graph.highest_vendor_scores)


def _document(prediction: Prediction) -> dict[str, Any]:
    return {
        "predictable": prediction.predictable,
        "reason": prediction.reason,
        "scores": prediction.scores,
        "outcomes": [gpus_of(outcome) for outcome in prediction.outcomes],
        "may_crash": prediction.may_crash,
    }


def _show(prediction: Prediction, tables: LinkTables) -> None:
    """The outcomes from the worst to the best, in our own measure."""
    outcomes = sorted(prediction.outcomes, key=tables.worth)
    table = table_of(
        "GPUs", "vendor's score", "bandwidth", title="What the vendor's device plugin may pick, worst first"
    )
    for outcome in outcomes[:_MOST_SHOWN]:
        score = str(_vendor_score(tables.graph, outcome))
        table.add_row(gpu_list(gpus_of(outcome)), score, gbps(tables.worth(outcome).bandwidth_gbps))
    console().print(table)
    if len(outcomes) > _MOST_SHOWN:
        typer.echo(f"and {len(outcomes) - _MOST_SHOWN} more; --json lists them all")
    if not prediction.predictable:
        typer.echo(f"not predictable: {prediction.reason}")
    if prediction.may_crash:
        typer.echo("the plugin may crash: a set that is not full may win")


def _vendor_score(graph: LinkGraph, gpus: int) -> int:
    return sum(graph.vendor_scores[first][second] for first, second in combinations(gpus_of(gpus), 2))
