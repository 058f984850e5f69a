"""Reads the output of `nvidia-smi topo -m`: what its cells say of a node.

Which cell is which is the business of `gpu_topology.nvidia_smi_cells`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, TypeAlias

import networkx as nx

from gpu_topology.errors import DumpError
from gpu_topology.links import PcieAncestor
from gpu_topology.nvidia_smi_cells import Matrix, Row, read_matrix
from gpu_topology.topology import Gpu, Nic, NodeTopology

MOST_NVLINKS: Final = 18
"""NVLinks of the GPUs that have most, H100 to B300."""

_Links: TypeAlias = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Dump:
    """What an output of `nvidia-smi topo -m` tells.

    Attributes:
        topology: the node. UUIDs, bus ids and memory are not shown, hence unknown.
        warnings: one sentence for each thing that could not be taken as it was shown.
    """

    topology: NodeTopology
    warnings: tuple[str, ...]


def parse_topology_matrix(text: str, *, products: Sequence[str] | str | None = None) -> Dump:
    """Read a `nvidia-smi topo -m` output, whatever stands before and after the matrix.

    A pair that differs by direction counts as the weaker one. A pair with NVLinks has no known PCIe ancestor, as the
    output shows only its NVLinks. A CPU or NUMA cell that is empty, N/A or glued to the next one is unknown, and so
    is the NUMA node of a GPU that is near several.

    Args:
        text: the output.
        products: the GPU model, which the output does not show: one for all, or one each.

    Raises:
        DumpError: there is no matrix, it is not one of links, a part is missing, or a cell cannot be read; or there
            are not as many models as GPUs.
    """
    matrix = read_matrix(text)
    links = _weaker_directions(matrix)
    nvlinks = tuple(tuple(_nvlinks(link) for link in row) for row in links)
    complete = "NV#" in text or any(map(any, nvlinks))
    topology = NodeTopology(
        gpus=_gpus(matrix.rows, products),
        pcie=tuple(tuple(_ancestor(link) for link in row) for row in links),
        nvlinks=nvlinks,
        nvswitch=_nvswitch(nvlinks),
        nvlinks_complete=complete,
        nics=_nics(matrix),
    )
    return Dump(topology, tuple(_warnings(matrix, links, complete=complete)))


def _weaker_directions(matrix: Matrix) -> _Links:
    """The GPUs' links, each pair as the weaker of its two directions."""
    gpus = range(len(matrix.rows))
    return tuple(tuple(min(matrix.rows[i].gpus[j], matrix.rows[j].gpus[i], key=_strength) for j in gpus) for i in gpus)


def _strength(link: str) -> tuple[int, int]:
    """Orders links from the weakest to the strongest: any NVLink is above all of PCIe."""
    ancestor = _ancestor(link)
    return (_nvlinks(link), -1 if ancestor is None else ancestor)


def _nvlinks(link: str) -> int:
    return int(link.removeprefix("NV")) if link.startswith("NV") else 0


def _ancestor(link: str) -> PcieAncestor | None:
    return PcieAncestor.__members__.get(link)


def _warnings(matrix: Matrix, links: _Links, *, complete: bool) -> list[str]:
    rows = matrix.rows
    warnings = [
        f"GPU{i} sees GPU{j} over {rows[i].gpus[j]}, but GPU{j} sees GPU{i} over {rows[j].gpus[i]}: "
        f"the pair counts as {links[i][j]}"
        for i, j in combinations(range(len(rows)), 2)
        if rows[i].gpus[j] != rows[j].gpus[i]
    ]
    warnings += [
        f"The CPU and NUMA cells of GPU{index} cannot be told apart, so its affinity is unknown"
        for index, row in enumerate(rows)
        if row.affinities is None
    ]
    if not complete:
        warnings.append(
            "No NVLink is shown: either the machine has none, or this is `nvidia-smi topo -mp`, which leaves them out"
        )
    return warnings


def _nvswitch(nvlinks: Sequence[Sequence[int]]) -> bool | None:
    """Whether an NVSwitch joins the GPUs, where their numbers of NVLinks allow only one answer.

    Without a switch, each NVLink of a GPU leads to one other GPU, so a GPU that shows more of them than any GPU has
    is behind a switch. With a switch, two GPUs that it joins have as many as the one with fewer has in all, so a pair
    with less than that is joined directly. Only GPUs that some path of NVLinks joins are compared, since a switch can
    be partitioned. Two linked GPUs can be either, and so can four with six NVLinks for each pair.
    """
    ports = [max(row) for row in nvlinks]
    if any(sum(row) > max(MOST_NVLINKS, *ports) for row in nvlinks):
        return True
    pairs = combinations(range(len(nvlinks)), 2)
    linked = nx.Graph((first, second) for first, second in pairs if nvlinks[first][second])
    direct = any(
        nvlinks[first][second] < min(ports[first], ports[second])
        for island in nx.connected_components(linked)
        for first, second in combinations(island, 2)
    )
    return False if direct else None


def _gpus(rows: Sequence[Row], products: Sequence[str] | str | None) -> tuple[Gpu, ...]:
    models = [products] * len(rows) if products is None or isinstance(products, str) else products
    if len(models) != len(rows):
        raise DumpError(f"The matrix shows {len(rows)} GPUs, but {len(models)} GPU models are given")
    return tuple(_gpu(row, model) for row, model in zip(rows, models, strict=True))


def _gpu(row: Row, model: str | None) -> Gpu:
    affinities = row.affinities or {}
    numa = affinities.get("numa", "")
    cpus = affinities.get("cpu", "")
    return Gpu(
        product=model,
        numa_node=int(numa) if re.fullmatch("[0-9]{1,4}", numa) else None,
        cpu_affinity=cpus if re.match("[0-9]", cpus) else None,
    )


def _nics(matrix: Matrix) -> tuple[Nic, ...]:
    return tuple(
        Nic(name, tuple(_ancestor(row.nics[index]) for row in matrix.rows)) for index, name in enumerate(matrix.nics)
    )
