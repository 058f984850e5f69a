"""Nodes and pods as the API server has them, in a few lines each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpu_topology.contract import (
    STATE_ANNOTATION,
    TOPOLOGY_ANNOTATION,
    Allocation,
    Holder,
    NodeState,
    encode_state,
    encode_topology,
    topology_hash,
)
from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Gpu, NodeTopology


def switched(gpus: int = 8) -> NodeTopology:
    """A machine whose GPUs are all behind one NVSwitch: any set is as good as any other."""
    return _topology(gpus, "NVIDIA H100 80GB HBM3", dict.fromkeys(_pairs(gpus), 18), nvswitch=True)


def bridged(gpus: int = 4) -> NodeTopology:
    """A machine whose GPUs are bridged in pairs 0-1, 2-3...: only such a pair is fast."""
    return _topology(gpus, "NVIDIA RTX A6000", {(first, first + 1): 4 for first in range(0, gpus, 2)})


def plain(gpus: int = 4) -> NodeTopology:
    """A machine with PCIe only."""
    return _topology(gpus, "NVIDIA L40", {})


def node(
    name: str,
    topology: NodeTopology,
    *,
    free: Sequence[int] | None = None,
    held: Iterable[Holder] = (),
    **state: Any,
) -> dict[str, Any]:
    """A node with both annotations; what is neither held nor unhealthy nor cut is free unless said otherwise."""
    annotation = encode_topology(topology)
    holders = tuple(held)
    taken = {gpu for holder in holders for gpu in holder.gpus} | set(state.get("unhealthy", {}))
    taken |= {pool.gpu for pool in state.get("slices") or ()}
    if free is None:
        free = [gpu for gpu in range(len(topology)) if gpu not in taken]
    fields: dict[str, Any] = {"sequence": 1, "allocation": Allocation.BEST} | state
    published = NodeState(topology_hash(annotation), free=tuple(free), held=holders, **fields)
    return bare_node(
        name,
        {TOPOLOGY_ANNOTATION: annotation, STATE_ANNOTATION: encode_state(published)},
        gpus=len(topology),
    )


def bare_node(name: str, annotations: Mapping[str, Any] | None = None, *, gpus: int = 8) -> dict[str, Any]:
    """A node with any annotations."""
    return {
        "metadata": {"name": name, "annotations": dict(annotations or {})},
        "status": {"allocatable": {"nvidia.com/gpu": str(gpus)}},
    }


def pod(  # noqa: PLR0913 - each has a default, and tests name what matters to them
    name: str = "trainer",
    gpus: int | Sequence[int] = 0,
    *,
    on: str | None = None,
    phase: str = "Pending",
    scheduled_at: str = "2026-01-01T00:00:00Z",
    uid: str | None = None,
    **wishes: str,
) -> dict[str, Any]:
    """A pod of one container for each number of GPUs; `min_bandwidth_gbps="100"` becomes its annotation."""
    counts = [gpus] if isinstance(gpus, int) else gpus
    resources = [{"requests": {"nvidia.com/gpu": str(count)}} if count else {} for count in counts]
    return {
        "metadata": {
            "namespace": "team",
            "name": name,
            "uid": f"uid-of-{name}" if uid is None else uid,
            "annotations": {f"gpu-scheduler/{key.replace('_', '-')}": value for key, value in wishes.items()},
        },
        "spec": {
            **({"nodeName": on} if on else {}),
            "containers": [{"name": f"c{index}", "resources": entry} for index, entry in enumerate(resources)],
        },
        "status": {
            "phase": phase,
            "conditions": [{"type": "PodScheduled", "lastTransitionTime": scheduled_at}] if on else [],
        },
    }


def sliced_pod(
    name: str = "trainer", gpus: int = 0, *, slices: Mapping[str, int] | None = None, **fields: Any
) -> dict[str, Any]:
    """One of `pod`'s pods, whose container asks for slices, resource to number, as well."""
    sliced = pod(name, gpus, **fields)
    (container,) = sliced["spec"]["containers"]
    requests = container["resources"].setdefault("requests", {})
    requests.update({resource: str(count) for resource, count in (slices or {}).items()})
    return sliced


def holder(name: str, gpus: Iterable[int], *, container: str = "c0", uid: str | None = None) -> Holder:
    """A container of one of `pod`'s pods in a report."""
    return Holder(f"team/{name}", container, tuple(gpus), uid)


def _pairs(gpus: int) -> list[tuple[int, int]]:
    return [(first, second) for first in range(gpus) for second in range(first + 1, gpus)]


def _topology(
    gpus: int, product: str, nvlinks: Mapping[tuple[int, int], int], *, nvswitch: bool | None = None
) -> NodeTopology:
    def links(first: int, second: int) -> int:
        return nvlinks.get((min(first, second), max(first, second)), 0)

    size = range(gpus)
    return NodeTopology(
        gpus=tuple(Gpu(uuid=f"GPU-{index}", product=product) for index in size),
        pcie=tuple(tuple(None if i == j else PcieAncestor.NODE for j in size) for i in size),
        nvlinks=tuple(tuple(links(i, j) for j in size) for i in size),
        nvswitch=nvswitch,
    )
