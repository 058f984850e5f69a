"""Hypothesis strategies for the values of the core."""

from hypothesis import strategies as st

from gpu_topology.assignment import Assignment
from gpu_topology.contract import Allocation, Holder, NodeState
from gpu_topology.links import PcieAncestor
from gpu_topology.slices import SliceHolder, SlicePool
from gpu_topology.topology import Gpu, Nic, NodeTopology

_text = st.none() | st.text(max_size=12)
_ancestor = st.none() | st.sampled_from(PcieAncestor)

gpus = st.builds(
    Gpu,
    uuid=_text,
    product=_text,
    pci_bus_id=_text,
    numa_node=st.none() | st.integers(0, 7),
    cpu_affinity=_text,
    memory_mib=st.none() | st.integers(0, 300_000),
    mig_enabled=st.none() | st.booleans(),
)


@st.composite
def topologies(draw: st.DrawFn, max_gpus: int = 6) -> NodeTopology:
    """Any topology, sensible or not, as long as it does not contradict itself."""
    size = draw(st.integers(0, max_gpus))
    pcie: list[list[PcieAncestor | None]] = [[None] * size for _ in range(size)]
    nvlinks = [[0] * size for _ in range(size)]
    p2p: list[list[bool | None]] = [[None] * size for _ in range(size)]
    asked = draw(st.booleans())
    for first in range(size):
        for second in range(first):
            pcie[first][second] = pcie[second][first] = draw(_ancestor)
            nvlinks[first][second] = nvlinks[second][first] = draw(st.integers(0, 18))
            p2p[first][second] = p2p[second][first] = draw(st.none() | st.booleans()) if asked else None
    return NodeTopology(
        gpus=tuple(draw(gpus) for _ in range(size)),
        pcie=tuple(map(tuple, pcie)),
        nvlinks=tuple(map(tuple, nvlinks)),
        nvswitch=draw(st.none() | st.booleans()),
        nvlinks_complete=draw(st.booleans()),
        nics=tuple(
            Nic(draw(st.text(max_size=8)), tuple(draw(_ancestor) for _ in range(size)))
            for _ in range(draw(st.integers(0, 3)))
        ),
        clique=draw(_text),
        p2p=tuple(map(tuple, p2p)),
    )


RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb")


@st.composite
def slice_pools(
    draw: st.DrawFn, gpus: tuple[int, ...] = (0, 1, 2), resources: tuple[str, ...] = RESOURCES
) -> SlicePool:
    """The slices of a resource on one of these GPUs, or on an unknown one."""
    total = draw(st.integers(0, 7))
    gpu = draw(st.none() | st.sampled_from(gpus)) if gpus else None
    return SlicePool(draw(st.sampled_from(resources)), gpu, total, draw(st.integers(0, total)))


def slices(
    gpus: tuple[int, ...] = (0, 1, 2), resources: tuple[str, ...] = RESOURCES
) -> st.SearchStrategy[tuple[SlicePool, ...]]:
    """The slices of a node."""
    pools = st.lists(slice_pools(gpus, resources), max_size=6, unique_by=lambda pool: (pool.resource, pool.gpu))
    return pools.map(tuple)


_slice_holders = st.builds(
    SliceHolder,
    pod=st.text(max_size=9),
    container=st.text(max_size=9),
    resource=st.sampled_from(RESOURCES),
    gpu=st.none() | st.integers(0, 15),
    count=st.integers(0, 9),
    pod_uid=_text,
)


@st.composite
def states(draw: st.DrawFn) -> NodeState:
    """Any state in which nothing is both free and taken."""
    order = draw(st.permutations(range(16)))
    free_count = draw(st.integers(0, 16))
    taken = order[free_count:]
    held = draw(st.lists(st.sampled_from(taken), max_size=4)) if taken else []
    unhealthy = draw(st.lists(st.sampled_from(taken), max_size=3)) if taken else []
    return NodeState(
        topology_hash=draw(st.text("0123456789abcdef", min_size=16, max_size=16)),
        sequence=draw(st.integers(0, 2**53)),
        free=draw(st.none() | st.just(tuple(order[:free_count]))),
        held=tuple(Holder(draw(st.text(max_size=9)), draw(st.text(max_size=9)), (gpu,), draw(_text)) for gpu in held),
        unhealthy={gpu: draw(st.text(max_size=20)) for gpu in unhealthy},
        allocation=draw(st.sampled_from(Allocation)),
        stale=draw(_text),
        slices=draw(st.none() | slices(tuple(taken))),
        held_slices=draw(st.lists(_slice_holders, max_size=3).map(tuple)),
    )


def assignments() -> st.SearchStrategy[Assignment]:
    """Any record of a choice."""
    containers = st.dictionaries(st.text(max_size=9), st.lists(st.text(max_size=9), max_size=3).map(tuple), max_size=3)
    return st.builds(
        Assignment,
        pod_uid=st.text(max_size=9),
        node=st.text(max_size=9),
        containers=containers.map(lambda chosen: tuple(chosen.items())),
        bandwidth_gbps=st.none() | st.floats(0, 1e6),
        enforced=st.booleans(),
    )
