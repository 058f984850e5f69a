"""The events: jobs arrive, wait, get their GPUs, and end.

The queue is kube-scheduler's: pods are tried in the order of arrival, one that does not fit is set aside until a pod
ends, and those behind it are tried in the meantime. Left out: its backoff of 1 to 10 seconds after a failure, and
preemption. The pods of one job are bound together or not at all, as a gang-scheduling plugin sees to it.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol, TypeAlias

from gpu_topology.errors import PlacementError
from gpu_topology.request import GpuRequest
from simulator.cluster import Cluster, Held, Node, resources_of
from simulator.jobs import Job
from simulator.kube_scheduler import Resources


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a pod goes.

    Attributes:
        gpus: the mask of its GPUs where the policy chooses them; None leaves them to the node.
    """

    node: Node
    gpus: int | None = None


class Policy(Protocol):
    """A scheduler: chooses where pods go, and is told what happens."""

    def choose(self, cluster: Cluster, pod: str, request: GpuRequest, resources: Resources) -> Choice | None:
        """Where a pod goes, or None where no node can serve it now."""

    def bound(self, pod: str, request: GpuRequest, held: Held) -> None:
        """A pod has got its GPUs."""

    def released(self, pod: str, held: Held) -> None:
        """A pod has ended, and its GPUs are free."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    Attributes:
        started_s: when its pods got their GPUs.
        ended_s: when it gave them back.
        held: what each pod got.
    """

    job: Job
    started_s: float
    ended_s: float
    held: tuple[Held, ...]


Runtime: TypeAlias = Callable[[Job, Sequence[Held]], float]
"""How many seconds a job runs with what its pods got."""
Observer: TypeAlias = Callable[[float, Cluster, int], None]
"""Called at the end of each moment: (time in s, cluster, jobs that wait)."""


def simulate(
    cluster: Cluster, jobs: Sequence[Job], policy: Policy, runtime: Runtime, observer: Observer | None = None
) -> list[Outcome]:
    """Play jobs on a cluster until all have ended; in the order of their start.

    Jobs that can never start because no node is large enough are left out.

    Args:
        cluster: empty at the start.
        jobs: in the order of arrival.
        policy: chooses.
        runtime: decides how long jobs run.
        observer: is shown every moment at which something happens.
    """
    simulation = _Simulation(cluster, policy, runtime)
    arrivals = deque(jobs)
    while arrivals or simulation.running:
        now = min(_next(arrivals), simulation.next_end)
        simulation.end_jobs(now)
        while arrivals and arrivals[0].arrival_s <= now:
            simulation.queue.add(arrivals.popleft())
        simulation.start_jobs(now)
        if observer is not None:
            observer(now, cluster, len(simulation.queue))
    return simulation.outcomes


def _next(arrivals: deque[Job]) -> float:
    return arrivals[0].arrival_s if arrivals else float("inf")


@dataclass
class _Queue:
    """Waiting jobs by what they ask for: if the first of its kind cannot start, no other of that kind can."""

    waiting: defaultdict[tuple[GpuRequest, ...], deque[tuple[int, Job]]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    set_aside: set[tuple[GpuRequest, ...]] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=count)

    def __len__(self) -> int:
        return sum(map(len, self.waiting.values()))

    def add(self, job: Job) -> None:
        self.waiting[job.pods].append((next(self._numbers), job))

    def first(self) -> Job | None:
        """The job that has waited longest among those that are not set aside."""
        heads = [jobs[0] for pods, jobs in self.waiting.items() if jobs and pods not in self.set_aside]
        return min(heads)[1] if heads else None

    def take(self, job: Job) -> None:
        self.waiting[job.pods].popleft()


class _Simulation:
    """The state between events."""

    def __init__(self, cluster: Cluster, policy: Policy, runtime: Runtime) -> None:
        self._cluster = cluster
        self._policy = policy
        self._runtime = runtime
        self._numbers = count()
        self.queue = _Queue()
        self.running: list[tuple[float, int, Job]] = []
        self.outcomes: list[Outcome] = []

    @property
    def next_end(self) -> float:
        return self.running[0][0] if self.running else float("inf")

    def end_jobs(self, now: float) -> None:
        while self.running and self.running[0][0] <= now:
            self._release(_pod_names(heapq.heappop(self.running)[2]))
            self.queue.set_aside.clear()

    def start_jobs(self, now: float) -> None:
        while (job := self.queue.first()) is not None:
            held = self._bind(job)
            if held is None:
                self.queue.set_aside.add(job.pods)
                continue
            self.queue.take(job)
            end = now + self._runtime(job, held)
            heapq.heappush(self.running, (end, next(self._numbers), job))
            self.outcomes.append(Outcome(job, now, end, held))

    def _bind(self, job: Job) -> tuple[Held, ...] | None:
        """Bind all pods of a job, or none."""
        sizes = Counter(pod.total for pod in job.pods)
        if any(self._cluster.room(gpus) < pods for gpus, pods in sizes.items()):
            return None
        bound: list[Held] = []
        names = _pod_names(job)
        for name, request in zip(names, job.pods, strict=True):
            held = self._bind_pod(name, request)
            if held is None:
                self._release(names[: len(bound)])
                return None
            bound.append(held)
        return tuple(bound)

    def _bind_pod(self, name: str, request: GpuRequest) -> Held | None:
        resources = resources_of(request)
        choice = self._policy.choose(self._cluster, name, request, resources)
        if choice is None:
            return None
        try:
            held = self._cluster.bind(name, choice.node, request, resources, choice.gpus)
        except PlacementError:
            # The vendor's plugin has crashed in every order that was tried: the pod waits until something changes.
            return None
        self._policy.bound(name, request, held)
        return held

    def _release(self, pods: Sequence[str]) -> None:
        for pod in pods:
            self._policy.released(pod, self._cluster.release(pod))


def _pod_names(job: Job) -> list[str]:
    return [f"{job.name}-{number}" for number in range(len(job.pods))]
