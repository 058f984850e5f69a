"""The nodes of a simulated cluster, from machine profiles and `nvidia-smi topo -m` dumps in any mix.

A file lists them in one of two forms::

    nodes: {hgx-h100: 12, dumps/old-box.txt: 20}    # profile or dump to how many nodes are such machines

    nodes:                                          # as `topology_agent --simulate` takes it, with names and models
      - {name: "old-{}", count: 20, dump: dumps/old-box.txt, product: Tesla V100-SXM2-32GB}

Relative paths begin in the file's folder.
"""

from collections.abc import Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import yaml

from gpu_topology.errors import SettingsError
from gpu_topology.nvidia_smi import parse_topology_matrix
from gpu_topology.topology import NodeTopology
from topology_agent.fleet import load_fleet
from topology_agent.profiles import load_machine, machine_names


def read_nodes(file: Path) -> dict[str, NodeTopology]:
    """The nodes that a file lists: name to topology.

    Raises:
        SettingsError: it cannot be read, or names a machine that there is not.
        DumpError: a dump cannot be read without guessing.
        TopologyError: a machine profile is wrong.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    nodes = document.get("nodes") if isinstance(document, dict) else None
    return nodes_of(_counts(nodes, file), file.parent) if isinstance(nodes, dict) else load_fleet(file)


def nodes_of(counts: Mapping[str, int], folder: Path) -> dict[str, NodeTopology]:
    """Node to its topology.

    The kinds take turns, so that a policy that takes the first node with room prefers none.

    Args:
        counts: the name of a machine profile, or the path of a dump, to how many nodes are such machines.
        folder: in which relative paths begin.

    Raises:
        SettingsError: there is no such profile or file.
        DumpError: a dump cannot be read without guessing.
    """
    rows = [_named(kind, count, folder) for kind, count in counts.items()]
    return dict(pair for pair in chain.from_iterable(zip_longest(*rows)) if pair is not None)


def _counts(nodes: Mapping[Any, Any], file: Path) -> dict[str, int]:
    for kind, count in nodes.items():
        if type(count) is not int or count < 1:
            raise SettingsError(f"{file}: nodes.{kind}: {count!r} is not a number of nodes, at least 1")
    if not nodes:
        raise SettingsError(f"{file}: nodes: there is none")
    return {str(kind): count for kind, count in nodes.items()}


def _named(kind: str, count: int, folder: Path) -> list[tuple[str, NodeTopology]]:
    topology = _topology(kind, folder)
    return [(f"{Path(kind).stem}-{number:04d}", topology) for number in range(count)]


def _topology(kind: str, folder: Path) -> NodeTopology:
    if kind in machine_names():
        return load_machine(kind)
    file = folder / kind
    try:
        return parse_topology_matrix(file.read_text(encoding="utf-8-sig")).topology
    except OSError as error:
        profiles = ", ".join(machine_names())
        raise SettingsError(f"{kind} is neither a readable file nor a machine profile: those are {profiles}") from error
