"""Two schedulers for a simulated cluster: kube-scheduler as it is, and kube-scheduler with the extender."""

from random import Random
from typing import Any, Protocol

import httpx
import orjson

from benchmarks.simulated_cluster import SimulatedCluster, resources_of
from simulator.kube_scheduler import default_score, total_score


class Scheduler(Protocol):
    """Whoever chooses the node for a pod."""

    def choose(self, cluster: SimulatedCluster, pod: dict[str, Any], gpus: int) -> str | None:
        """The node for a pod, or None where no node can serve it now."""


class DefaultScheduler:
    """kube-scheduler's default profile: counts GPUs, spreads by cpu and memory, breaks ties at random.

    Args:
        seed: of the ties.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def choose(self, cluster: SimulatedCluster, pod: dict[str, Any], gpus: int) -> str | None:  # noqa: ARG002  of the protocol
        """See `Scheduler`."""
        scores = _in_tree(cluster, cluster.feasible(gpus), gpus)
        return _best(scores, self._random)


class ExtendedScheduler:
    """kube-scheduler with the extender, asked over HTTP as kube-scheduler asks it.

    Args:
        url: of the extender.
        weight: of the extender in the scheduler's configuration.
        seed: of the ties.
    """

    def __init__(self, url: str, weight: int, seed: int) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False)
        self._weight = weight
        self._random = Random(seed)

    def choose(self, cluster: SimulatedCluster, pod: dict[str, Any], gpus: int) -> str | None:
        """See `Scheduler`."""
        passed = self._ask("filter", pod, cluster.feasible(gpus))["NodeNames"] or []
        if not passed:
            return None
        priorities = {entry["Host"]: entry["Score"] for entry in self._ask("prioritize", pod, passed)}
        scores = {
            name: total_score(in_tree, priorities.get(name, 0), self._weight)
            for name, in_tree in _in_tree(cluster, passed, gpus).items()
        }
        return _best(scores, self._random)

    def _ask(self, verb: str, pod: dict[str, Any], names: list[str]) -> Any:
        body = orjson.dumps({"Pod": pod, "Nodes": None, "NodeNames": names})
        response = self._http.post(f"/{verb}", content=body, headers={"Content-Type": "application/json"})
        return orjson.loads(response.raise_for_status().content)


def _in_tree(cluster: SimulatedCluster, names: list[str], gpus: int) -> dict[str, int]:
    pod = resources_of(gpus)
    return {name: default_score(cluster.capacity[name], cluster.requested[name], pod) for name in names}


def _best(scores: dict[str, int], random: Random) -> str | None:
    if not scores:
        return None
    highest = max(scores.values())
    return random.choice([name for name, score in scores.items() if score == highest])
