"""`gputopo node`: one node of a cluster, GPU by GPU."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from extender.clock import utc_now
from extender.overview import GpuState
from gpu_topology.errors import SourceError
from gputopo.access import Context, Kubeconfig, Url, access_of
from gputopo.cluster import (
    NOTHING,
    UNKNOWN,
    Node,
    Topologies,
    free_of,
    largest_set,
    links_of,
    model_of,
    state_of,
    states_of,
)
from gputopo.columns import Cell, Column, Row, lines_of
from gputopo.options import Json
from gputopo.output import age, counted, gbps, gpu_list, print_json, print_lines, printable, terminal_width
from gputopo.overview import read_overview
from gputopo.pod_rows import word_for
from gputopo.pods import pod_lines

_LINK_COLOURS: Final = {
    "nvswitch": "bright_green",
    "nvlink": "green",
    "PSB": "cyan",
    "PIX": "cyan",
    "PXB": "cyan",
    "PHB": "yellow",
    "NODE": "yellow",
    "SYS": "red",
    "unknown": "bright_black",
}
_STATE_COLOURS: Final = {
    GpuState.FREE: "green",
    GpuState.UNHEALTHY: "red",
    GpuState.CORDONED: "yellow",
}


def node(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The node.", show_default=False)],
    *,
    url: Url = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Show one node of a cluster: its GPUs, who has them, how they are linked, and the best sets that are free."""
    document = read_overview(access_of(url, kubeconfig, context))
    found = next((node for node in document["nodes"] if node["name"] == name), None)
    if found is None:
        raise SourceError(f"the cluster has no GPU node {name}")
    seen = document.get("agents_seen", {}).get(name)
    if as_json:
        print_json({**found, "machine": document["topologies"].get(found["topology"]), "agent_seen": seen})
    else:
        print_lines(lines_about(found, document["topologies"], utc_now(), seen, terminal_width()))


def lines_about(
    node: Node, topologies: Topologies, now: datetime, agent_seen: str | None = None, width: int | None = None
) -> Iterator[str]:
    """A node for a person.

    Args:
        node: of the overview.
        topologies: the overview's kinds of machine.
        now: the present time.
        agent_seen: when its agent last gave a sign of life, in RFC 3339; None where nobody knows.
        width: characters in a line of the terminal; None where nothing is to be cut.
    """
    yield from map(printable, _head(node, topologies, now, agent_seen))
    if node["gpus"]:
        kind = topologies[node["topology"]]
        yield ""
        yield from lines_of(_GPU_COLUMNS, (_gpu_row(gpu, kind) for gpu in node["gpus"]), width)
        yield ""
        yield from lines_of(*_matrix(kind))
    if node["best_sets"]:
        yield ""
        yield from lines_of(
            [Column("FREE SET OF", right=True), Column("GPUS"), Column("GB/S", right=True)],
            (_set_row(each) for each in node["best_sets"]),
            width,
        )
    if node["pods"]:
        yield ""
        yield from pod_lines([{"node": node["name"], **pod} for pod in node["pods"]], [], now, width)


def _head(node: Node, topologies: Topologies, now: datetime, agent_seen: str | None) -> Iterator[str]:
    number = states_of(node).total()
    yield f"{node['name']}: {counted(number, 'GPU')}, {model_of(node, topologies)}, links: {links_of(node, topologies)}"
    if node["free"] is not None:
        yield f"free: {free_of(node)}; the largest free set: {largest_set(node)}"
    yield f"state: {state_of(node)}"
    if node["problem"]:
        yield f"problem: {node['problem']}"
    if node["standing_reason"]:
        until = f", until {node['left_out_until']}" if node["left_out_until"] else ""
        yield f"standing: {node['standing_reason']}{until}"
    if node["allocation"]:
        chooser = {"vendor": "the vendor's device plugin", "best": "this project, as scored"}
        yield f"who chooses a pod's GPUs there: {chooser.get(node['allocation'], node['allocation'])}"
    if node["clique"]:
        yield f"NVLink fabric: {node['clique']}"
    if agent_seen:
        yield f"the agent was last heard of {age(agent_seen, now)} ago"
    for pool in node["slices"] or ():
        yield f"parts whose GPU is not known: {pool['free']}/{pool['total']} {pool['resource']} free"


_GPU_COLUMNS: Final = (
    Column("GPU", right=True),
    Column("STATE"),
    Column("POD"),
    Column("HOW SURE"),
    Column("NOTE", gives_way=True),
    Column("NUMA", right=True),
    Column("UUID"),
)


def _gpu_row(gpu: Mapping[str, Any], kind: Mapping[str, Any]) -> Row:
    numa = kind["gpus"][gpu["index"]]["numa_node"]
    slices = [f"{pool['free']}/{pool['total']} {pool['resource']} free" for pool in gpu["slices"]]
    return [
        str(gpu["index"]),
        Cell(gpu["state"], _STATE_COLOURS.get(gpu["state"])),
        gpu["pod"] or NOTHING,
        NOTHING if gpu["basis"] is None else word_for(gpu["basis"]),
        "; ".join(filter(None, [gpu["reason"], *slices])) or NOTHING,
        UNKNOWN if numa is None else str(numa),
        gpu["uuid"] or UNKNOWN,
    ]


def _matrix(kind: Mapping[str, Any]) -> tuple[list[Column], list[Row]]:
    """The link of every pair, as `gputopo show` has it."""
    size = len(kind["gpus"])
    cells = [[Cell("X", "bright_black")] * size for _ in range(size)]
    for link in kind["links"]:
        first, second = link["gpus"]
        cells[first][second] = cells[second][first] = Cell(link["token"], _LINK_COLOURS.get(link["kind"]))
    columns = [Column("LINKS"), *(Column(f"GPU{gpu}") for gpu in range(size))]
    return columns, [[f"GPU{gpu}", *row] for gpu, row in enumerate(cells)]


def _set_row(best: Mapping[str, Any]) -> Row:
    return [str(len(best["gpus"])), gpu_list(best["gpus"]), gbps(best["bandwidth_gbps"]).removesuffix(" GB/s")]
