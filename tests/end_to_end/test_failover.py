"""Two schedulers, each with an extender of its own: one leads, the other takes over when the first dies or ends."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gpu_topology.contract import Allocation
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, node, pod
from tests.control_plane.observer import Observer
from tests.control_plane.parts import Extender, agents, extender
from tests.control_plane.processes import ChildProcess
from tests.control_plane.stack import SCHEDULER_CONFIG
from tests.end_to_end.brute_force import BruteForce
from tests.end_to_end.test_best_node import fleet
from topology_agent.fleet import load_fleet

MACHINES = ("hgx-h100", "dgx-1v", "pcie-8", "bridged-pairs-8")
LEASE = {"leaseDuration": "3s", "renewDeadline": "2s", "retryPeriod": "500ms"}
"""Short, so that the test is; the shipped ones are kube-scheduler's 15 s, 10 s and 2 s."""


@dataclass
class Replica:
    """A scheduler and its extender, as one pod of the Deployment holds them."""

    scheduler: ChildProcess
    extender: Extender
    with_extender = True

    @property
    def extender_url(self) -> str:
        """Where an observer looks at the books."""
        return self.extender.url

    def kill(self) -> None:
        """Both processes, at once."""
        self.scheduler.kill()
        self.extender.process.kill()

    def stop(self) -> None:
        """As a kubelet ends the pod: the scheduler first, then the extender, which is its sidecar."""
        self.scheduler.stop()
        self.extender.process.stop()

    def books(self, names: list[str]) -> dict[str, Any]:
        """What the extender knows of these nodes."""
        return {name: self._get(f"{self.extender.url}/v1/nodes/{name}").json() for name in names}

    def questions(self) -> int:
        """How often the extender was asked by a scheduler."""
        exposition = self._get(f"{self.extender.probes_url}/metrics").text
        found = re.findall(r"^gpu_scheduler_requests_total{.*} ([0-9.]+)$", exposition, re.MULTILINE)
        return int(sum(map(float, found)))

    def _get(self, url: str) -> httpx.Response:
        return httpx.get(url, trust_env=False).raise_for_status()


@contextmanager
def replica(control_plane: ControlPlane, name: str) -> Iterator[Replica]:
    """One with the shipped configuration, its lease included."""
    configuration = yaml.safe_load(SCHEDULER_CONFIG.read_text())
    with ExitStack() as running:
        served = extender(control_plane, name=f"extender-{name}")
        running.enter_context(served.process)
        configuration["extenders"][0]["urlPrefix"] = served.url
        configuration["leaderElection"] |= LEASE
        scheduler = control_plane.start_scheduler(
            configuration, kubeconfig=control_plane.kubeconfig(), name=f"scheduler-{name}"
        )
        running.enter_context(scheduler)
        yield Replica(scheduler, served)


@pytest.fixture
def client(kubernetes_client: Client) -> Iterator[Client]:
    """The admin's client of a cluster with the namespace of the lease."""
    kubernetes_client.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gpu-scheduler"}}])
    yield kubernetes_client
    kubernetes_client.delete(
        "Lease", "gpu-scheduler", "gpu-scheduler", api_version="coordination.k8s.io/v1"
    )  # the next holder need not wait for it


def wait_for_a_leader(client: Client) -> None:
    """Wait until somebody holds the lease that the shipped configuration names."""
    client.wait_for(
        "Lease",
        "gpu-scheduler",
        lambda lease: bool(lease["spec"].get("holderIdentity")),
        "gpu-scheduler",
        api_version="coordination.k8s.io/v1",
    )


def test_the_standby_takes_over_with_warm_books(control_plane: ControlPlane, client: Client, tmp_path: Path) -> None:
    machines = fleet(tmp_path, [{"name": machine, "machine": machine} for machine in MACHINES])
    for name, topology in load_fleet(machines).items():
        client.create(node(name, gpus=len(topology), cpu="128", memory="1024Gi"))
    with ExitStack() as running:
        running.enter_context(agents(control_plane, machines, Allocation.BEST))
        leader = running.enter_context(replica(control_plane, "first"))
        wait_for_a_leader(client)
        standby = running.enter_context(replica(control_plane, "second"))

        led = Observer(client, leader)
        before = [led.schedule(f"before-{size}", size) for size in (4, 2, 1)]
        assert leader.questions() >= len(before)
        assert standby.questions() == 0
        assert standby.extender.ready()
        for scheduled in before:  # the standby's watch may be a moment behind
            Observer(client, standby).wait_for_the_books(scheduled.node)
        assert standby.books(list(MACHINES)) == leader.books(list(MACHINES))

        for number in range(4):
            client.create(pod(f"meanwhile-{number}", gpus=2, cpu="8", scheduler_name="gpu-scheduler"))
        leader.kill()
        for number in range(4):
            client.wait_for("Pod", f"meanwhile-{number}", is_bound)
        taken_over = Observer(client, standby)
        taken_over.wait_for_all_holders(client.list("Pod"))

        brute_force = BruteForce(taken_over.topologies())
        for size in (4, 2, 1):
            scheduled = taken_over.schedule(f"after-{size}", size)
            assert scheduled.node in brute_force.best_nodes(scheduled.free, size), scheduled
        assert standby.questions() > 0
        held = Counter(
            (name, gpu) for name, state in taken_over.states().items() for holder in state.held for gpu in holder.gpus
        )
        assert set(held.values()) == {1}
        assert held.total() == 2 * (4 + 2 + 1) + 4 * 2


def test_a_rolling_update_loses_no_pod(control_plane: ControlPlane, client: Client, tmp_path: Path) -> None:
    """Each replica is told to end once its successor is ready, while pods wait; it ends by itself and in good order."""
    machines = fleet(tmp_path, [{"name": machine, "machine": machine} for machine in MACHINES])
    for name, topology in load_fleet(machines).items():
        client.create(node(name, gpus=len(topology), cpu="128", memory="1024Gi"))
    with ExitStack() as running:
        running.enter_context(agents(control_plane, machines, Allocation.BEST))
        old = [running.enter_context(replica(control_plane, f"old-{number}")) for number in range(2)]
        wait_for_a_leader(client)
        new = []
        for number, replaced in enumerate(old):
            new.append(running.enter_context(replica(control_plane, f"new-{number}")))
            for pair in range(4):
                client.create(pod(f"pair-{number}-{pair}", gpus=2, cpu="8", scheduler_name="gpu-scheduler"))
            replaced.stop()
            assert '"stopped"' in replaced.extender.process.log_tail(1)
            for pair in range(4):
                client.wait_for("Pod", f"pair-{number}-{pair}", is_bound)
        observer = Observer(client, new[0])
        observer.wait_for_all_holders(client.list("Pod"))
        held = Counter(
            (name, gpu) for name, state in observer.states().items() for holder in state.held for gpu in holder.gpus
        )
    assert set(held.values()) == {1}
    assert held.total() == 2 * 4 * 2
