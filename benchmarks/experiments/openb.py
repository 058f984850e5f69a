"""FGD's experiment on the pods that ask for whole GPUs: how many GPUs stay idle when more are asked for than exist.

Pods are drawn from Alibaba's openb trace until they ask for 130 % of the GPUs; each is placed once or dropped, and none
leaves. 44 % of the trace's pods ask for a part of a GPU and some for none: these are left out, for every policy, so the
published figures (286 idle GPUs under FGD, of all kinds of pods) are not to be compared with these. Weng et al.,
"Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC'23.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, NamedTuple

from rich.table import Table

from benchmarks.experiments.openb_cluster import TRACES, Machines, draw, machines, whole_gpu_pods
from benchmarks.experiments.openb_policies import BestFitOfAll, DotProduct, GradientDescent, Packing
from simulator.allocators import lowest_gpus
from simulator.cluster import AllocatorFactory, Cluster
from simulator.engine import Policy
from simulator.estimate import Estimate, estimate
from simulator.jobs import pod_of
from simulator.kube_scheduler import Resources
from simulator.policies import POLICIES

DEMAND: Final = 1.3
"""GPUs asked for, over GPUs that there are."""
SEEDS: Final = 3


class Contender(NamedTuple):
    """A policy of the experiment: made from a seed and the pods of the trace, with the nodes' allocator."""

    make: Callable[[int, Sequence[Resources]], Policy]
    allocator: Callable[[int], AllocatorFactory]


def _shipped(name: str) -> Contender:
    entry = POLICIES[name]
    return Contender(lambda seed, _: entry.make(seed), entry.allocator)


def _published(make: Callable[[int], Policy]) -> Contender:
    return Contender(lambda seed, _: make(seed), lambda _: lowest_gpus)


CONTENDERS: Final[Mapping[str, Contender]] = {
    "extender-best": _shipped("extender-best"),
    "extender-packing": _shipped("extender-packing"),
    "random": _published(POLICIES["random"].make),
    "dot-product": _published(DotProduct),
    "first-fit": _published(POLICIES["first-fit"].make),
    "best-fit": _published(BestFitOfAll),
    "packing": _published(Packing),
    "fgd": Contender(GradientDescent, lambda _: lowest_gpus),
    "default": _published(POLICIES["default"].make),
}


def measure(seeds: int = SEEDS) -> dict[str, dict[str, Estimate]]:
    """Trace to policy to the GPUs that stay idle.

    Raises:
        SettingsError: the published data are not there.
    """
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        pending = {
            (trace, policy): [processes.submit(_measure, trace, policy, seed) for seed in range(1, seeds + 1)]
            for trace in TRACES
            for policy in CONTENDERS
        }
        found = {key: estimate([run.result() for run in runs]) for key, runs in pending.items()}
    return {trace: {policy: found[trace, policy] for policy in CONTENDERS} for trace in TRACES}


def table(figures: Mapping[str, Mapping[str, Estimate]]) -> Table:
    """The figures for a person."""
    result = Table("policy", *figures, title=f"openb, whole GPUs: idle GPUs at {DEMAND:.0%} demand")
    for policy in CONTENDERS:
        cells = (figures[trace][policy] for trace in figures)
        result.add_row(policy, *(f"{cell.mean:.1f} ± {cell.half_width or 0:.1f}" for cell in cells))
    return result


def document(figures: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """The figures as JSON."""
    return {
        trace: {policy: found.document() for policy, found in policies.items()} for trace, policies in figures.items()
    }


def idle_gpus(contender: Contender, cluster: Machines, pods: Sequence[Resources], seed: int) -> int:
    """The GPUs that stay idle when pods drawn with this seed have been placed."""
    nodes = Cluster.of(cluster.topologies, contender.allocator(seed), cluster.capacities)
    policy = contender.make(seed, pods)
    for number, resources in enumerate(draw(pods, round(DEMAND * cluster.gpus), seed)):
        name, request = f"pod-{number}", pod_of(resources.gpus)
        choice = policy.choose(nodes, name, request, resources)
        if choice is not None:
            policy.bound(name, request, nodes.bind(name, choice.node, request, resources, choice.gpus))
    return nodes.free_gpus


def _measure(trace: str, policy: str, seed: int) -> int:
    return idle_gpus(CONTENDERS[policy], machines(), whole_gpu_pods(TRACES[trace]), seed)
