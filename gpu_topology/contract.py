"""The annotations by which the agent and the extender speak to one another: the one thing that both must agree on.

On a node the agent writes `gpu-scheduler/topology`, the hardware, which changes rarely, and `gpu-scheduler/state`, who
has which GPU, which changes with every pod. Both are JSON with a version. The schema is in this package's README. What
the extender may record on a pod is in `gpu_topology.assignment`.

A reader ignores keys that it does not know, so that agents can be upgraded before the extender; what an older reader
would misread raises `VERSION`.
"""

import hashlib
from collections.abc import Sized
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from gpu_topology.annotation import VERSION, Document, decode, encode
from gpu_topology.errors import MalformedError, TopologyError
from gpu_topology.links import PcieAncestor
from gpu_topology.slices import MAX_SLICES, SliceHolder, SlicePool
from gpu_topology.topology import Ancestors, Gpu, Nic, NodeTopology, PeerAccess

TOPOLOGY_ANNOTATION: Final = "gpu-scheduler/topology"
STATE_ANNOTATION: Final = "gpu-scheduler/state"
MAX_GPUS: Final = 64
"""More GPUs than any node has; a bound on what a foreign value can make a reader do."""


class Allocation(StrEnum):
    """Who chooses a pod's GPUs inside the node."""

    VENDOR = "vendor"
    """The vendor's device plugin, which knows nothing of the scheduler's choice."""
    BEST = "best"
    """This project: the kubelet is given the set that the node was scored with."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A container and the GPUs that it has, by index.

    Attributes:
        pod: "<namespace>/<name>".
        pod_uid: the pod's UID, or None where the source knows pods by name only.
    """

    pod: str
    container: str
    gpus: tuple[int, ...]
    pod_uid: str | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """Who has which GPU of a node at one moment.

    Attributes:
        topology_hash: `topology_hash` of the topology annotation whose indices this speaks in.
        sequence: grows with every publication of the node.
        free: whole GPUs that a pod could get; None where the agent does not know. None is not the empty set.
        held: containers and the whole GPUs that they have.
        unhealthy: GPU index to the reason, for a person to read. A GPU may be both held and unhealthy, never free
            and either.
        allocation: who chooses among the free GPUs.
        stale: why this may no longer be true (a person's sentence), or None while it is up to date.
        slices: the parts of GPUs, for every GPU that is cut or shared, which is never free as a whole; None where the
            agent does not know, or is too old to say.
        held_slices: containers and the slices that they have.
    """

    topology_hash: str
    sequence: int
    free: tuple[int, ...] | None
    held: tuple[Holder, ...] = ()
    unhealthy: dict[int, str] = field(default_factory=dict)
    allocation: Allocation = Allocation.VENDOR
    stale: str | None = None
    slices: tuple[SlicePool, ...] | None = None
    held_slices: tuple[SliceHolder, ...] = ()


def topology_hash(annotation: str) -> str:
    """The name by which a state refers to a topology: 16 hexadecimal digits of the annotation's SHA-256."""
    return hashlib.sha256(annotation.encode()).hexdigest()[:16]


def encode_topology(topology: NodeTopology) -> str:
    """The value of `gpu-scheduler/topology`: compact JSON, equal for equal topologies.

    Raises:
        OversizedError: it would not fit into an object's annotations.
    """
    return encode(TOPOLOGY_ANNOTATION, _TopologyDocument.of(topology))


def decode_topology(annotation: str) -> NodeTopology:
    """The topology that `encode_topology` wrote.

    Raises:
        MalformedError, OversizedError, ForeignVersionError: it is not what `encode_topology` writes.
    """
    document = decode(TOPOLOGY_ANNOTATION, annotation, _TopologyDocument)
    try:
        return document.topology()
    except TopologyError as error:
        raise MalformedError(TOPOLOGY_ANNOTATION, str(error)) from error


def encode_state(state: NodeState) -> str:
    """The value of `gpu-scheduler/state`: compact JSON.

    Raises:
        OversizedError: it would not fit into an object's annotations.
    """
    return encode(STATE_ANNOTATION, _StateDocument.of(state))


def decode_state(annotation: str) -> NodeState:
    """The state that `encode_state` wrote.

    Whether its indices fit the node's topology is for the reader to check, who has both: see `check_state`.

    Raises:
        MalformedError, OversizedError, ForeignVersionError: it is not what `encode_state` writes.
    """
    return decode(STATE_ANNOTATION, annotation, _StateDocument).state()


def check_state(state: NodeState, topology: Sized, annotation: str) -> None:
    """Check that a state speaks of this topology.

    Args:
        state: what is to be checked.
        topology: the topology, or whatever else is as long as it has GPUs.
        annotation: the topology's own.

    Raises:
        MalformedError: it speaks of another topology, or of GPUs that the node does not have.
    """
    expected = topology_hash(annotation)
    if state.topology_hash != expected:
        raise MalformedError(
            STATE_ANNOTATION,
            f"speaks of topology {state.topology_hash}, but {TOPOLOGY_ANNOTATION} is {expected}",
        )
    named = {*(state.free or ()), *state.unhealthy, *(gpu for holder in state.held for gpu in holder.gpus)}
    sliced = {pool.gpu for pool in state.slices or ()} | {holder.gpu for holder in state.held_slices}
    foreign = sorted(gpu for gpu in named | sliced if gpu is not None and gpu >= len(topology))
    if foreign:
        raise MalformedError(STATE_ANNOTATION, f"speaks of GPU {foreign[0]}, but the node has {len(topology)}")


# The documents: what stands in the JSON.

_AncestorName = Literal["SYS", "NODE", "PHB", "PXB", "PIX", "PSB"]
_Index = Annotated[int, Field(ge=0, lt=MAX_GPUS)]
_SliceCount = Annotated[int, Field(ge=0, le=MAX_SLICES)]
_LinkCount = Annotated[int, Field(ge=0, le=1024)]
_Cell = Literal["X"] | _AncestorName | None


class _GpuDocument(Document):
    uuid: str | None
    product: str | None
    pci_bus_id: str | None
    numa_node: int | None
    cpu_affinity: str | None
    memory_mib: int | None
    mig_enabled: bool | None


class _NicDocument(Document):
    name: str
    pcie: list[_AncestorName | None]


class _TopologyDocument(Document):
    version: Literal[1]
    gpus: Annotated[int, Field(ge=0, le=MAX_GPUS)]
    devices: list[_GpuDocument]
    pcie: list[list[_Cell]]
    nvlinks: list[list[_LinkCount]]
    nvswitch: bool | None
    nvlinks_complete: bool
    nics: list[_NicDocument]
    clique: str | None
    # Not there in what agents wrote that did not ask yet.
    p2p: list[list[bool | None]] | None = None

    @model_serializer(mode="wrap")
    def _without_p2p_if_unknown(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = serialize(self)
        if self.p2p is None:
            del document["p2p"]
        return document

    @model_validator(mode="after")
    def _counts_agree(self) -> "_TopologyDocument":
        if len(self.devices) != self.gpus:
            raise ValueError(f"gpus is {self.gpus}, but {len(self.devices)} devices are listed")
        if any((cell == "X") != (i == j) for i, row in enumerate(self.pcie) for j, cell in enumerate(row)):
            raise ValueError('pcie must hold "X" on its diagonal and nowhere else')
        return self

    @classmethod
    def of(cls, topology: NodeTopology) -> "_TopologyDocument":
        return cls(
            version=VERSION,
            gpus=len(topology),
            devices=[_GpuDocument(**asdict(gpu)) for gpu in topology.gpus],
            pcie=[
                ["X" if i == j else _name(ancestor) for j, ancestor in enumerate(row)]
                for i, row in enumerate(topology.pcie)
            ],
            nvlinks=[list(row) for row in topology.nvlinks],
            nvswitch=topology.nvswitch,
            nvlinks_complete=topology.nvlinks_complete,
            nics=[
                _NicDocument(name=nic.name, pcie=[_name(ancestor) for ancestor in nic.pcie]) for nic in topology.nics
            ],
            clique=topology.clique,
            p2p=[list(row) for row in topology.p2p] if _is_anything_known(topology.p2p) else None,
        )

    def topology(self) -> NodeTopology:
        return NodeTopology(
            gpus=tuple(Gpu(**device.model_dump()) for device in self.devices),
            pcie=tuple(_ancestors(row) for row in self.pcie),
            nvlinks=tuple(tuple(row) for row in self.nvlinks),
            nvswitch=self.nvswitch,
            nvlinks_complete=self.nvlinks_complete,
            nics=tuple(Nic(nic.name, _ancestors(nic.pcie)) for nic in self.nics),
            clique=self.clique,
            p2p=tuple(map(tuple, self.p2p or ())),
        )


class _HolderDocument(Document):
    pod: str
    container: str
    gpus: list[_Index]
    pod_uid: str | None


class _SlicePoolDocument(Document):
    resource: str
    gpu: _Index | None
    total: _SliceCount
    free: _SliceCount


class _SliceHolderDocument(Document):
    pod: str
    container: str
    resource: str
    gpu: _Index | None
    count: _SliceCount
    pod_uid: str | None


class _StateDocument(Document):
    version: Literal[1]
    topology: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    sequence: Annotated[int, Field(ge=0)]
    free: list[_Index] | None
    held: list[_HolderDocument]
    unhealthy: dict[Annotated[str, Field(pattern="^(0|[1-9][0-9]?)$")], str]
    allocation: Literal["vendor", "best"]
    stale: str | None
    # Not there in what agents wrote that did not count slices yet.
    slices: list[_SlicePoolDocument] | None = None
    held_slices: list[_SliceHolderDocument] = Field(default_factory=list)

    @model_validator(mode="after")
    def _free_is_free(self) -> "_StateDocument":
        free = self.free or []
        taken = {gpu for holder in self.held for gpu in holder.gpus} | {int(gpu) for gpu in self.unhealthy}
        if len(set(free)) != len(free):
            raise ValueError("free names a GPU twice")
        if both := sorted(taken.intersection(free)):
            raise ValueError(f"GPU {both[0]} is said to be free and yet held or unhealthy")
        return self

    @model_validator(mode="after")
    def _slices_are_counted_once(self) -> "_StateDocument":
        pools = self.slices or []
        for pool in pools:
            if pool.free > pool.total:
                raise ValueError(f"{pool.free} of {pool.total} {pool.resource} are said to be free")
            if pool.gpu is not None and pool.gpu in (self.free or []):
                raise ValueError(f"GPU {pool.gpu} is said to be free and yet cut or shared")
        if len({(pool.resource, pool.gpu) for pool in pools}) != len(pools):
            raise ValueError("slices names a resource of a GPU twice")
        return self

    @classmethod
    def of(cls, state: NodeState) -> "_StateDocument":
        return cls(
            version=VERSION,
            topology=state.topology_hash,
            sequence=state.sequence,
            free=None if state.free is None else list(state.free),
            held=[
                _HolderDocument(
                    pod=holder.pod, container=holder.container, gpus=list(holder.gpus), pod_uid=holder.pod_uid
                )
                for holder in state.held
            ],
            unhealthy={str(gpu): reason for gpu, reason in state.unhealthy.items()},
            allocation=state.allocation.value,
            stale=state.stale,
            slices=None if state.slices is None else [_SlicePoolDocument(**asdict(pool)) for pool in state.slices],
            held_slices=[_SliceHolderDocument(**asdict(holder)) for holder in state.held_slices],
        )

    def state(self) -> NodeState:
        return NodeState(
            topology_hash=self.topology,
            sequence=self.sequence,
            free=None if self.free is None else tuple(self.free),
            held=tuple(
                Holder(holder.pod, holder.container, tuple(holder.gpus), holder.pod_uid) for holder in self.held
            ),
            unhealthy={int(gpu): reason for gpu, reason in self.unhealthy.items()},
            allocation=Allocation(self.allocation),
            stale=self.stale,
            slices=None if self.slices is None else tuple(SlicePool(**pool.model_dump()) for pool in self.slices),
            held_slices=tuple(SliceHolder(**holder.model_dump()) for holder in self.held_slices),
        )


def _is_anything_known(matrix: tuple[PeerAccess, ...]) -> bool:
    return any(cell is not None for row in matrix for cell in row)


def _name(ancestor: PcieAncestor | None) -> Any:
    return None if ancestor is None else ancestor.name


def _ancestors(names: list[Any]) -> Ancestors:
    return tuple(None if name in (None, "X") else PcieAncestor[name] for name in names)
