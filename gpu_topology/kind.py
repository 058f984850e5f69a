"""Kinds of machine: what machines of one make have in common that a person would look at, without ids and tables."""

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from gpu_topology.interconnect import Interconnect, interconnect_of
from gpu_topology.topology import NodeTopology

_KINDS_SHARED: Final = 64
"""Kinds that are remembered, so that equal ones are one object: a cluster has a handful."""


class Link(NamedTuple):
    """The best link of a pair of GPUs.

    Attributes:
        first: index of a GPU.
        second: index of the other, the larger one.
        kind: as `NodeTopology.link_kind` says.
        token: as `nvidia-smi topo -m` shows it: "NV4", "PIX"...; "?" where nothing is known.
        bandwidth_gbps: GB/s in one direction, as `NodeTopology.bandwidth_gbps` says.
    """

    first: int
    second: int
    kind: str
    token: str
    bandwidth_gbps: float


@dataclass(frozen=True)
class MachineKind:
    """What is the same for all machines of a kind.

    Attributes:
        products: model names of the GPUs, in the order of their indices; None where unknown, here and below.
        memory_mib: MiB of memory of each.
        numa_nodes: NUMA node of each.
        interconnect: what joins them; None for a single GPU, and where it is not known.
        links: of every pair.
    """

    products: tuple[str | None, ...]
    memory_mib: tuple[int | None, ...]
    numa_nodes: tuple[int | None, ...]
    interconnect: Interconnect | None
    links: tuple[Link, ...]

    @cached_property
    def key(self) -> str:
        """A name for it, the same wherever it is computed: 12 hexadecimal digits."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


def kind_of(topology: NodeTopology) -> MachineKind:
    """The kind of a machine: one object for all that are equal."""
    return _shared(
        MachineKind(
            products=tuple(gpu.product for gpu in topology.gpus),
            memory_mib=tuple(gpu.memory_mib for gpu in topology.gpus),
            numa_nodes=tuple(gpu.numa_node for gpu in topology.gpus),
            interconnect=interconnect_of(topology),
            links=tuple(_link(topology, *pair) for pair in topology.pairs()),
        )
    )


def _link(topology: NodeTopology, first: int, second: int) -> Link:
    kind, token = topology.link_kind(first, second), topology.token(first, second)
    return Link(first, second, kind, token, topology.bandwidth_gbps(first, second))


@lru_cache(maxsize=_KINDS_SHARED)
def _shared(kind: MachineKind) -> MachineKind:
    return kind
