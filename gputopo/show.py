"""`gputopo show`: a machine for a person."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpu_topology.errors import SettingsError
from gpu_topology.placement import LinkTables, tables_of
from gpu_topology.request import Wishes
from gpu_topology.topology import NodeTopology
from gputopo.chosen import TYPICAL_SIZES, Chosen, choose_set
from gputopo.islands import Islands, islands_of
from gputopo.machine_file import read_machine
from gputopo.options import File, Json, Machine, Product
from gputopo.output import console, gbps, gpu_list, print_json, table_of
from gputopo.svg import draw

_COLOURS: Final = {
    "nvswitch": "bold green",
    "nvlink": "green",
    "PSB": "cyan",
    "PIX": "cyan",
    "PXB": "cyan",
    "PHB": "yellow",
    "NODE": "yellow",
    "SYS": "red",
    "unknown": "dim",
}
_ISLAND_NAMES: Final = {
    "nvlink": "linked by NVLink",
    "pcie_switch": "under one PCIe switch",
    "numa": "in one NUMA node",
}


@dataclass(frozen=True, slots=True)
class Best:
    """The best set of one size, and how many sets are worth as much."""

    chosen: Chosen
    alike: int


def show(
    file: File = None,
    *,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the machine into this file.")] = None,
    machine: Machine = None,
    product: Product = None,
    as_json: Json = False,
) -> None:
    """Show how a machine's GPUs are linked, and its best sets."""
    topology = read_machine(file, machine, product)
    if svg is not None:
        _write(svg, draw(topology))
    tables = tables_of(topology)
    islands, best = islands_of(tables.graph), list(_best_sets(tables))
    if as_json:
        print_json(_document(topology, tables, islands, best))
    else:
        _print(console(), topology, tables, islands, best)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}") from error


def _best_sets(tables: LinkTables) -> Iterator[Best]:
    for size in TYPICAL_SIZES:
        if size <= len(tables):
            order = tables.order(tables.candidates(tables.graph.everything, size))
            yield Best(choose_set(tables, tables.graph.everything, size, Wishes()), int((order == order.max()).sum()))


def _document(
    topology: NodeTopology, tables: LinkTables, islands: dict[str, Islands], best: list[Best]
) -> dict[str, Any]:
    gpus = range(len(topology))
    return {
        "gpus": len(topology),
        "products": [gpu.product for gpu in topology.gpus],
        "nvswitch": topology.nvswitch,
        "matrix": [[topology.token(first, second) for second in gpus] for first in gpus],
        "bandwidth_gbps": [[0.0 if i == j else topology.bandwidth_gbps(i, j) for j in gpus] for i in gpus],
        "pcie_known": tables.graph.pcie_known,
        "islands": islands,
        "best_sets": [{**each.chosen.document(), "alike": each.alike} for each in best],
    }


def _print(
    output: Console, topology: NodeTopology, tables: LinkTables, islands: dict[str, Islands], best: list[Best]
) -> None:
    output.print(_title(topology))
    output.print(_matrix(topology))
    output.print(_legend(topology))
    for name, groups in islands.items():
        output.print(f"{_ISLAND_NAMES[name]}: {_grouped(groups)}")
    if not tables.graph.pcie_known:
        output.print("The PCIe paths between some GPUs are unknown, so more of them may share a switch or a NUMA node.")
    if best:
        output.print(_best_table(best))
    if not tables.exact:
        output.print("Approximate: above 16 GPUs not every set is looked at.")


def _title(topology: NodeTopology) -> str:
    products = sorted({gpu.product or "GPU of unknown model" for gpu in topology.gpus})
    switch = {True: "with NVSwitch", False: "without NVSwitch", None: "NVSwitch unknown"}[topology.nvswitch]
    return f"{len(topology)} x {' / '.join(products)}, {switch}"


def _matrix(topology: NodeTopology) -> Table:
    gpus = range(len(topology))
    table = table_of("", *(f"GPU{gpu}" for gpu in gpus), "NUMA", "nearest NICs")
    for first in gpus:
        numa = topology.gpus[first].numa_node
        cells = [_cell(topology, first, second) for second in gpus]
        table.add_row(f"GPU{first}", *cells, "?" if numa is None else str(numa), _nearest_nics(topology, first))
    return table


def _cell(topology: NodeTopology, first: int, second: int) -> Text:
    style = "dim" if first == second else _COLOURS[topology.link_kind(first, second)]
    return Text(topology.token(first, second), style=style)


def _nearest_nics(topology: NodeTopology, gpu: int) -> str:
    """The NICs that share the nearest ancestor with a GPU, and that ancestor."""
    shared = [(nic.pcie[gpu], nic.name) for nic in topology.nics]
    ancestors = [ancestor for ancestor, _ in shared if ancestor is not None]
    if not ancestors:
        return ""
    nearest = max(ancestors)
    return f"{' '.join(name for ancestor, name in shared if ancestor is nearest)} ({nearest.name})"


def _legend(topology: NodeTopology) -> Text:
    """Each kind of link with its bandwidth, the fastest first."""
    kinds = {
        (topology.bandwidth_gbps(*pair), topology.token(*pair), topology.link_kind(*pair)) for pair in topology.pairs()
    }
    entries = [Text(f"{token} {gbps(speed)}", style=_COLOURS[kind]) for speed, token, kind in sorted(kinds)[::-1]]
    return Text("   ").join(entries)


def _grouped(groups: Islands) -> str:
    together = [gpu_list(group) for group in groups if len(group) > 1]
    return " | ".join(together) or "none"


def _best_table(best: list[Best]) -> Table:
    table = table_of("size", "GPUs", "bandwidth", "all pairs", "alike", title="Best sets of the whole machine")
    for each in best:
        chosen = each.chosen
        speeds = gbps(chosen.worth.bandwidth_gbps), gbps(chosen.worth.pair_sum_gbps)
        table.add_row(str(len(chosen.gpus)), gpu_list(chosen.gpus), *speeds, str(each.alike))
    return table
