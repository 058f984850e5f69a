"""What the sets are worth that the pods get if filter passes on the best N nodes.

The same pods on the same nodes as in the real run, but simulated: the extender's own ledger, filter and prioritize,
kube-scheduler's scores, the vendor's device plugin in the nodes, and agents that publish at once.
"""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from statistics import mean
from typing import Final

from benchmarks.simulated_cluster import NODE_CPU_MILLIS, NODE_MEMORY_MIB
from benchmarks.synthetic_cluster import MACHINES, node_names
from gpu_topology.contract import Allocation
from gpu_topology.errors import PlacementError
from gpu_topology.request import ContainerRequest, GpuRequest
from simulator.allocators import vendor_set
from simulator.cluster import Cluster
from simulator.kube_scheduler import Resources
from simulator.policies.extended import Extended
from topology_agent.profiles import load_machine

SEED: Final = 1
POD_CPU_MILLIS: Final = 8_000
POD_MEMORY_MIB: Final = 64 * 1024
"""What `synthetic_cluster.pending_pod` asks for, however many GPUs it wants."""


def mean_bandwidth(nodes: int, sizes: Sequence[int], max_candidates: int) -> float:
    """GB/s, the mean over the pods with several GPUs.

    Args:
        nodes: how many.
        sizes: GPUs of the pods, in the order in which they are scheduled.
        max_candidates: how many nodes filter passes on; 0: all.
    """
    kinds = cycle([load_machine(name) for name in MACHINES])
    machines = dict(zip(node_names(nodes), islice(kinds, nodes), strict=True))
    capacities = {name: Resources(NODE_CPU_MILLIS, NODE_MEMORY_MIB, len(machine)) for name, machine in machines.items()}
    cluster = Cluster.of(machines, vendor_set(SEED), capacities)
    policy = Extended(SEED, Allocation.VENDOR, max_candidates=max_candidates)
    return mean(_bandwidths(cluster, policy, sizes))


def _bandwidths(cluster: Cluster, policy: Extended, sizes: Sequence[int]) -> Iterator[float]:
    for number, gpus in enumerate(sizes):
        name = f"train-{number:05d}"
        request = GpuRequest((ContainerRequest("main", gpus),))
        resources = Resources(POD_CPU_MILLIS, POD_MEMORY_MIB, gpus)
        choice = policy.choose(cluster, name, request, resources)
        if choice is None:
            raise PlacementError(f"no node has room for pod {number + 1} of {len(sizes)}")
        held = cluster.bind(name, choice.node, request, resources)
        policy.bound(name, request, held)
        if gpus > 1:
            yield held.bandwidth_gbps
