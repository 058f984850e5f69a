"""Many simulated nodes, described in one YAML file.

::

    nodes:
      - name: dgx-{}        # dgx-0 ... dgx-99
        count: 100
        machine: dgx-1v
      - name: office
        dump: office.txt    # a `nvidia-smi topo -m` output, relative to this file
        product: NVIDIA RTX A6000
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gpu_topology.errors import SettingsError
from gpu_topology.topology import NodeTopology
from topology_agent.profiles import load_machine
from topology_agent.simulation import with_uuids
from topology_agent.sources import dump

MOST_NODES: Final = 5_000
"""What one process plays at a pinch; a wrong count in the file does not fill the memory."""
NODE_NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
"""The names that the API server takes for a node (RFC 1123 subdomains)."""
_PLACEHOLDER: Final = "{}"


def load_fleet(path: Path) -> dict[str, NodeTopology]:
    """The nodes that a file describes: name to topology, every GPU with a UUID.

    Raises:
        SettingsError: the file, or a dump that it names, cannot be read or is wrong.
        TopologyError: a machine profile is wrong.
    """
    try:
        document = _Fleet.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"{path}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from error
    return _nodes(document, path)


class _Group(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: str
    """With "{}" for the number of the node, from 0, where there are several."""
    count: Annotated[int, Field(ge=1, le=MOST_NODES)] = 1
    machine: str | None = None
    dump: str | None = None
    product: str | None = None

    @model_validator(mode="after")
    def _is_one_machine(self) -> "_Group":
        if (self.machine is None) == (self.dump is None):
            raise ValueError("give either machine or dump")
        if self.product is not None and self.dump is None:
            raise ValueError("product goes with dump: a machine knows its own")
        if self.count > 1 and _PLACEHOLDER not in self.name:
            raise ValueError("name needs {} where count is above 1")
        return self

    def topology(self, folder: Path) -> NodeTopology:
        if self.machine is not None:
            return load_machine(self.machine)
        return dump.read_topology(folder / str(self.dump), self.product)

    def names(self) -> Iterator[str]:
        return (self.name.replace(_PLACEHOLDER, str(number)) for number in range(self.count))


class _Fleet(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    nodes: Annotated[list[_Group], Field(min_length=1)]


def _nodes(fleet: _Fleet, path: Path) -> dict[str, NodeTopology]:
    nodes: dict[str, NodeTopology] = {}
    for number, group in enumerate(fleet.nodes):
        topology = group.topology(path.parent)
        for name in group.names():
            if not re.match(NODE_NAME_PATTERN, name):
                raise SettingsError(f"{path}: nodes.{number}.name: {name!r} cannot be a node's name")
            if name in nodes:
                raise SettingsError(f"{path}: nodes.{number}.name: there is a node {name} already")
            nodes[name] = with_uuids(topology, name)
    if len(nodes) > MOST_NODES:
        raise SettingsError(f"{path}: {len(nodes)} nodes; one process plays at most {MOST_NODES}")
    return nodes
