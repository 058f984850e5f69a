"""Machine profiles: what well-known GPU servers look like, as data shipped with the agent.

One YAML file per machine in the folder `machines`. Matrices are written as `nvidia-smi topo -m` shows them, with the
NVLinks and the PCIe tree apart, so that a linked pair's PCIe ancestor is known too. `-` is no NVLink, `?` is unknown.
"""

from collections.abc import Callable, Sequence
from importlib import resources
from typing import Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_topology.errors import SettingsError, TopologyError
from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Ancestors, Gpu, Nic, NodeTopology

_FOLDER: Final = resources.files("topology_agent") / "machines"
_SUFFIX: Final = ".yaml"

_Cell = TypeVar("_Cell")


def machine_names() -> tuple[str, ...]:
    """The machines that `load_machine` knows, in alphabetical order."""
    files = (entry.name for entry in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


def load_machine(name: str) -> NodeTopology:
    """The topology of a machine by its name, such as "dgx-1v". Its GPUs have no UUIDs: no real machine is meant.

    Raises:
        SettingsError: there is no such machine; the message lists those that there are.
        TopologyError: the profile is wrong; the message names the file and the field.
    """
    if name not in machine_names():
        raise SettingsError(f"there is no machine profile {name!r}: the profiles are {', '.join(machine_names())}")
    file = f"{name}{_SUFFIX}"
    return parse_profile((_FOLDER / file).read_text(encoding="utf-8"), file)


def parse_profile(text: str, file: str) -> NodeTopology:
    """The topology that a profile describes.

    Args:
        text: the YAML document.
        file: its name, for messages.

    Raises:
        TopologyError: the profile is wrong; the message names the file and the field.
    """
    try:
        return _Profile.model_validate(yaml.safe_load(text)).topology()
    except yaml.YAMLError as error:
        raise TopologyError(f"{file}: is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise TopologyError(f"{file}: {field}: {first['msg']}") from error
    except TopologyError as error:
        raise TopologyError(f"{file}: {error}") from error


class _Profile(BaseModel):
    """The fields of a profile; lists are in index order of the GPUs."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    description: str
    source: str
    """Where the facts are from."""
    product: str
    memory_mib: int = Field(gt=0)
    numa_nodes: list[int]
    cpu_affinity: dict[int, str] = {}
    """NUMA node to its CPUs, as the kernel lists them."""
    pci_bus_ids: list[str] | None = None
    nvswitch: bool | None = None
    clique: str | None = None
    nvlinks: str
    """A matrix; or one cell that all pairs have, such as "NV18"; or "none"."""
    pcie: str
    """A matrix."""
    nics: dict[str, str] = {}
    """NIC to its PCIe ancestor with each GPU."""

    def topology(self) -> NodeTopology:
        size = len(self.numa_nodes)
        bus_ids: Sequence[str | None] = self.pci_bus_ids or [None] * size
        if len(bus_ids) != size:
            raise TopologyError(f"pci_bus_ids: {len(bus_ids)} for {size} NUMA nodes in numa_nodes")
        return NodeTopology(
            gpus=tuple(self._gpu(node, bus_id) for node, bus_id in zip(self.numa_nodes, bus_ids, strict=True)),
            pcie=_matrix("pcie", self.pcie, size, _ancestor, itself=None),
            nvlinks=self._nvlinks(size),
            nvswitch=self.nvswitch,
            nics=tuple(Nic(name, _ancestors(f"nics.{name}", row)) for name, row in self.nics.items()),
            clique=self.clique,
        )

    def _gpu(self, numa_node: int, bus_id: str | None) -> Gpu:
        return Gpu(
            product=self.product,
            pci_bus_id=None if bus_id is None else f"0000:{bus_id}",
            numa_node=numa_node,
            cpu_affinity=self.cpu_affinity.get(numa_node),
            memory_mib=self.memory_mib,
        )

    def _nvlinks(self, size: int) -> tuple[tuple[int, ...], ...]:
        cells = self.nvlinks.split()
        if len(cells) != 1 or size == 1:
            return _matrix("nvlinks", self.nvlinks, size, _links, itself=0)
        links = 0 if cells == ["none"] else _links("nvlinks", cells[0])
        return tuple(tuple(0 if i == j else links for j in range(size)) for i in range(size))


def _matrix(
    field: str, text: str, size: int, read: Callable[[str, str], _Cell], *, itself: _Cell
) -> tuple[tuple[_Cell, ...], ...]:
    """The cells of a square matrix, one row a line, "X" on the diagonal."""
    rows = [line.split() for line in text.splitlines()]
    if len(rows) != size or any(len(row) != size for row in rows):
        raise TopologyError(f"{field}: must have {size} rows of {size} cells, one for each NUMA node in numa_nodes")

    def cell(i: int, j: int) -> _Cell:
        where = f"{field}, row {i}, column {j}"
        if (rows[i][j] == "X") != (i == j):
            raise TopologyError(f"{where}: {rows[i][j]!r}, but X belongs on the diagonal and nowhere else")
        return itself if i == j else read(where, rows[i][j])

    return tuple(tuple(cell(i, j) for j in range(size)) for i in range(size))


def _ancestors(field: str, row: str) -> Ancestors:
    return tuple(_ancestor(field, cell) for cell in row.split())


def _ancestor(where: str, cell: str) -> PcieAncestor | None:
    if cell == "?":
        return None
    try:
        return PcieAncestor[cell]
    except KeyError:
        names = ", ".join(ancestor.name for ancestor in PcieAncestor)
        raise TopologyError(f"{where}: {cell!r} is not one of {names}, ?") from None


def _links(where: str, cell: str) -> int:
    if cell == "-":
        return 0
    count = cell.removeprefix("NV")
    if cell == count or not count.isdigit():
        raise TopologyError(f"{where}: {cell!r} is neither - nor a number of NVLinks such as NV2")
    return int(count)
