"""`gputopo nodes`: the GPU nodes of a cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from extender.clock import utc_now
from gpu_topology.interconnect import Interconnect
from gputopo.access import Context, Kubeconfig, Url, access_of
from gputopo.cluster import (
    Node,
    Topologies,
    free_of,
    in_words,
    is_troubled,
    largest_set,
    links_of,
    model_of,
    notes_on,
    state_of,
    totals_of,
)
from gputopo.columns import Cell, Column, lines_of
from gputopo.options import Json
from gputopo.output import NO_MATCH, age, print_json, print_lines, terminal_width
from gputopo.overview import read_overview


class Order(StrEnum):
    """What nodes are sorted by."""

    NAME = "name"
    MODEL = "model"
    FREE = "free"
    """The most free GPUs first."""
    BANDWIDTH = "bandwidth"
    """The largest set that is fastest first."""
    STATE = "state"


def nodes(  # noqa: PLR0913  each is an option
    *,
    model: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Only GPUs whose model has this in its name.")
    ] = None,
    links: Annotated[
        Interconnect | None, typer.Option(show_default=False, help="Only machines whose links are of this class.")
    ] = None,
    free: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Only nodes with at least so many free GPUs.")
    ] = None,
    unhealthy: Annotated[
        bool,
        typer.Option(
            "--unhealthy",
            help="Only nodes with unhealthy or cordoned GPUs, with GPUs of which too little is known, or where pods "
            "keep failing.",
        ),
    ] = False,
    sort: Annotated[Order, typer.Option(help="What comes first.")] = Order.NAME,
    url: Url = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """List a cluster's GPU nodes: what they are, what is free there, and what is wrong."""
    document = read_overview(access_of(url, kubeconfig, context))
    topologies: Topologies = document["topologies"]
    wanted = [
        node
        for node in document["nodes"]
        if (model is None or model.lower() in model_of(node, topologies).lower())
        and (links is None or links == links_of(node, topologies))
        and (free is None or (node["free"] or 0) >= free)
        and (is_troubled(node) or not unhealthy)
    ]
    wanted.sort(key=sorting(sort, topologies))
    if as_json:
        print_json(_narrowed(document, wanted))
    elif wanted:
        print_lines(node_lines(wanted, topologies, utc_now(), document.get("agents_seen"), terminal_width()))
    else:
        typer.echo(f"none of {len(document['nodes'])} GPU nodes is like that", err=True)
    if not wanted:
        raise typer.Exit(NO_MATCH)


def sorting(order: Order, topologies: Topologies) -> Callable[[Node], tuple[Any, ...]]:
    """The key to sort nodes by; of those that are equal in it, the name decides."""
    keys: dict[Order, Callable[[Node], Any]] = {
        Order.NAME: lambda _: 0,
        Order.MODEL: lambda node: model_of(node, topologies),
        Order.FREE: lambda node: -(node["free"] or 0),
        Order.BANDWIDTH: lambda node: -(node["best_sets"][-1]["bandwidth_gbps"] if node["best_sets"] else 0.0),
        Order.STATE: lambda node: (not is_troubled(node), state_of(node)),
    }
    return lambda node: (keys[order](node), node["name"])


def node_lines(
    nodes: Sequence[Node],
    topologies: Topologies,
    now: datetime,
    agents_seen: Mapping[str, str] | None = None,
    width: int | None = None,
) -> Iterator[str]:
    """The nodes as a list for a person, and their sum.

    Args:
        nodes: in the order in which they are shown.
        topologies: the kinds of machine that they name.
        now: the present time.
        agents_seen: node to when its agent last gave a sign of life, in RFC 3339; None or empty where nobody knows.
        width: characters in a line of the terminal; None where nothing is to be cut.
    """
    columns = [
        Column("NODE"),
        Column("MODEL", gives_way=True),
        Column("LINKS"),
        Column("FREE", right=True),
        Column("LARGEST FREE SET"),
        Column("STATE"),
        Column("NOTES", gives_way=True),
    ]
    rows = [[*_cells(node, topologies), Cell("; ".join(notes_on(node)))] for node in nodes]
    if agents_seen:
        columns.insert(_AGENT_PLACE, Column("AGENT SEEN", right=True, optional=True))
        for node, row in zip(nodes, rows, strict=True):
            row.insert(_AGENT_PLACE, Cell(age(agents_seen.get(node["name"]), now)))
    yield from lines_of(columns, rows, width)
    yield in_words(totals_of(nodes))


_AGENT_PLACE: Final = 6


def _cells(node: Node, topologies: Topologies) -> list[Cell | str]:
    state = state_of(node)
    return [
        node["name"],
        model_of(node, topologies),
        links_of(node, topologies),
        free_of(node),
        largest_set(node),
        Cell(state, None if state == "known" else "yellow"),
    ]


def _narrowed(document: Mapping[str, Any], wanted: Sequence[Node]) -> dict[str, Any]:
    """The overview of these nodes alone, with their sum."""
    kinds = {node["topology"] for node in wanted}
    topologies = {key: kind for key, kind in document["topologies"].items() if key in kinds}
    names = {node["name"] for node in wanted}
    seen = {node: at for node, at in document.get("agents_seen", {}).items() if node in names}
    return {"nodes": wanted, "topologies": topologies, "agents_seen": seen, "totals": totals_of(wanted)}
