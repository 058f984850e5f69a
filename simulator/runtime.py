"""How long jobs run on one cluster: the speed model, with the best sets that the cluster has for each job."""

from collections.abc import Sequence

from gpu_topology.placement import LinkTables, best_bandwidth
from gpu_topology.request import GpuRequest
from simulator.cluster import Cluster, Held
from simulator.jobs import Job
from simulator.speed import joint_bandwidth, slowdown


class SpeedModel:
    """Runtimes on one cluster; remembers the best bandwidth for each kind of pod."""

    def __init__(self, cluster: Cluster) -> None:
        self._kinds = tuple(cluster.kinds())
        self._best: dict[GpuRequest, float] = {}

    def __call__(self, job: Job, held: Sequence[Held]) -> float:
        """Seconds that a job runs with what its pods got."""
        got = joint_bandwidth(pod.bandwidth_gbps for pod in held)
        best = joint_bandwidth(map(self.best_bandwidth, job.pods))
        return job.duration_s * slowdown(job.communication, got, best)

    def best_bandwidth(self, request: GpuRequest) -> float:
        """GB/s of the best sets for a pod on an empty node of any kind that the cluster has."""
        if request not in self._best:
            self._best[request] = max(bandwidth_when_empty(tables, request) for tables in self._kinds)
        return self._best[request]


def bandwidth_when_empty(tables: LinkTables, request: GpuRequest) -> float:
    """GB/s of the best sets for a pod on an empty node of a kind; 0 where it is too small."""
    return best_bandwidth(tables, tables.graph.everything, request) or 0.0
