"""Kill everything, again and again, while pods come and go: is a GPU ever promised twice, is a pod ever forgotten?

Real etcd, kube-apiserver and kube-scheduler, the extender, and agents that play nodes, half of which let the vendor's
plugin choose and half of which enforce the choice. Extender, scheduler, API server and agents are ended with SIGKILL at
random times and started again.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx
import yaml
from rich.table import Table

from benchmarks.chaos_watcher import Watcher, asked_for, holders
from benchmarks.chaos_workload import Workload
from gpu_topology.contract import STATE_ANNOTATION, Allocation, decode_state
from tests.control_plane.client import Client
from tests.control_plane.cluster import ADMIN, ADMIN_GROUP, ControlPlane
from tests.control_plane.objects import node
from tests.control_plane.parts import agents
from tests.control_plane.processes import ChildProcess
from tests.control_plane.stack import Stack
from topology_agent.fleet import load_fleet

PODS: Final = 1000
NODES: Final = 50
KILLS: Final = 60
SEED: Final = 1
MACHINES: Final = ("hgx-h100", "dgx-1v", "pcie-8", "bridged-pairs-8", "dgx-a100")
LONGEST_PAUSE_SECONDS: Final = 3.0
"""Between one kill and the next."""
LONGEST_ABSENCE_SECONDS: Final = 1.0
"""For which what was killed stays away, besides the time that it takes to start."""
SETTLING_SECONDS: Final = 60.0
"""How long the last reports may take to reach the books."""

Figures = dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """What was seen.

    Attributes:
        pods: how many came.
        kills: how many processes were killed.
        promised_twice: what was promised twice, in sentences.
        stuck: the pods that were not bound in time.
        books_differ: what the books say otherwise than the API server at the end, in sentences.
    """

    pods: int
    kills: int
    promised_twice: Sequence[str]
    stuck: Sequence[str]
    books_differ: Sequence[str]

    @property
    def figures(self) -> Figures:
        """The same as numbers."""
        return {
            "pods": self.pods,
            "kills": self.kills,
            "promised_twice": len(self.promised_twice),
            "stuck": len(self.stuck),
            "books_differ": len(self.books_differ),
        }


def measure(
    pods: int = PODS, nodes: int = NODES, kills: int = KILLS, seed: int = SEED, *, bind: bool = False
) -> Outcome:
    """Run the experiment.

    Args:
        pods: how many come.
        nodes: how many nodes there are, at least two.
        kills: how many processes are killed.
        seed: of the pods' sizes, and of what is killed when.
        bind: whether the extender binds the pods and records their GPUs.
    """
    with TemporaryDirectory() as temporary, _running(Path(temporary), nodes, bind=bind) as cluster:
        gpus = cluster.gpus
        watcher = Watcher(cluster.connect, gpus)
        killer = Killer(cluster.victims, kills, seed)
        with cluster.connect() as client:
            workload = Workload(client, watcher.bound.__contains__, sum(gpus.values()), seed)
            watcher.start()
            killer.start()
            workload.run(pods)
            killer.finish()
            differing = _settled(client, cluster.extender_url, gpus)
        watcher.end()
        return Outcome(pods, killer.kills, sorted(watcher.twice), sorted(workload.stuck), differing)


def table(outcome: Outcome) -> Table:
    """The outcome for a person, with what went wrong."""
    shown = Table(title="Chaos", show_header=False)
    for name, value in outcome.figures.items():
        shown.add_row(name.replace("_", " "), str(value))
    for sentence in [*outcome.promised_twice, *outcome.stuck, *outcome.books_differ]:
        shown.add_row("", sentence)
    return shown


class Killer:
    """A thread that kills processes and starts them again.

    Attributes:
        kills: how many there were.

    Args:
        victims: in the order in which they are started when several were killed.
        kills: how many there are to be.
        seed: of what is killed when.
    """

    def __init__(self, victims: Sequence[ChildProcess], kills: int, seed: int) -> None:
        self.kills = 0
        self._victims = victims
        self._due = kills
        self._random = Random(seed)
        self._failure: BaseException | None = None
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Wait for the last kill, and until everything is back.

        Raises:
            ProcessError: something did not come back.
        """
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while self.kills < self._due:
                self._pause.wait(self._random.uniform(0, LONGEST_PAUSE_SECONDS))
                self._kill_some(min(self._random.choice((1, 1, 2)), self._due - self.kills))
        except BaseException as error:  # noqa: BLE001  raised again where somebody waits for it
            self._failure = error

    def _kill_some(self, count: int) -> None:
        chosen = self._random.sample(self._victims, count)
        for victim in chosen:
            victim.kill()
            self.kills += 1
        self._pause.wait(self._random.uniform(0, LONGEST_ABSENCE_SECONDS))
        for victim in self._victims:
            if victim in chosen:
                victim.start()


@dataclass(frozen=True)
class _Cluster:
    """What runs.

    Attributes:
        gpus: of the nodes, by name.
        victims: what may be killed, in the order of starting.
    """

    control_plane: ControlPlane
    gpus: Mapping[str, int]
    extender_url: str
    victims: Sequence[ChildProcess]

    def connect(self) -> Client:
        """A new client, to be closed."""
        return self.control_plane.client_of(ADMIN, [ADMIN_GROUP])


@contextmanager
def _running(folder: Path, nodes: int, *, bind: bool) -> Iterator[_Cluster]:
    fleets = {
        Allocation.VENDOR: _fleet(folder, "vendor", nodes - nodes // 2),
        Allocation.BEST: _fleet(folder, "best", nodes // 2),
    }
    with ExitStack() as running:
        control_plane = running.enter_context(ControlPlane(folder / "control-plane"))
        enforced = load_fleet(fleets[Allocation.BEST])
        for name, topology in enforced.items():
            control_plane.client.create(node(name, gpus=len(topology), cpu="128", memory="1024Gi"))
        trusting = ["--trust-records"] if bind else []
        enforcing = agents(
            control_plane, fleets[Allocation.BEST], Allocation.BEST, name="enforcing-agents", arguments=trusting
        )
        running.enter_context(enforcing)
        stack = running.enter_context(
            Stack(
                control_plane,
                fleets[Allocation.VENDOR],
                extender_arguments=["--bind"] if bind else [],
                extender_configuration={"bindVerb": "bind"} if bind else {},
            )
        )
        topologies = load_fleet(fleets[Allocation.VENDOR]) | enforced
        yield _Cluster(
            control_plane,
            {name: len(topology) for name, topology in topologies.items()},
            stack.extender_url,
            [control_plane.apiserver, stack.agent, enforcing, stack.extender, stack.scheduler],
        )


def _fleet(folder: Path, kind: str, nodes: int) -> Path:
    entries = [{"name": f"{kind}-{i}", "machine": MACHINES[i % len(MACHINES)]} for i in range(nodes)]
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump({"nodes": entries}), encoding="utf-8")
    return path


def _settled(client: Client, extender_url: str, gpus: Mapping[str, int]) -> list[str]:
    """Wait until the books are the truth; returns in what they differ if they never are."""
    deadline = time.monotonic() + SETTLING_SECONDS
    pace = threading.Event()
    while (differing := _differences(client, extender_url, gpus)) and time.monotonic() < deadline:
        pace.wait(0.5)
    return differing


def _differences(client: Client, extender_url: str, gpus: Mapping[str, int]) -> list[str]:
    """In what the agents' reports differ from the pods, and the books from the reports."""
    pods = {f"default/{pod['metadata']['name']}": pod for pod in client.list("Pod")}
    differing = []
    for obj in client.list("Node"):
        name = obj["metadata"]["name"]
        bound = {key: asked_for(pod) for key, pod in pods.items() if pod["spec"].get("nodeName") == name}
        by_gpu = holders(obj)
        held: dict[str, list[int]] = {}
        for gpu, names in sorted(by_gpu.items()):
            held.setdefault(" and ".join(sorted(names)), []).append(gpu)
        if {pod: len(own) for pod, own in held.items()} != bound:
            differing.append(f"{name}: the pods are {bound}, its agent reports {held}")
            continue
        free = sorted(set(range(gpus[name])) - by_gpu.keys())
        sequence = decode_state(obj["metadata"]["annotations"][STATE_ANNOTATION]).sequence
        book = _book(extender_url, name)
        truth = {"knowledge": "known", "sequence": sequence, "free": free, "held": held, "expected": {}}
        said = {key: book.get(key) for key in truth} | {"held": {p: sorted(g) for p, g in book["held"].items()}}
        if said != truth:
            differing.append(f"{name}: the books say {said}, but it is {truth}")
    return differing


def _book(extender_url: str, name: str) -> dict[str, Any]:
    page: dict[str, Any] = httpx.get(f"{extender_url}/v1/nodes/{name}", trust_env=False).raise_for_status().json()
    return page
