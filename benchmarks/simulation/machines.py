"""The nodes of a simulated cluster, from machine profiles and `nvidia-smi topo -m` dumps in any mix."""

from collections.abc import Mapping
from itertools import chain, zip_longest
from pathlib import Path

from gpu_topology.errors import SettingsError
from gpu_topology.nvidia_smi import parse_topology_matrix
from gpu_topology.topology import NodeTopology
from topology_agent.profiles import load_machine, machine_names


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
