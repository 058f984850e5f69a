"""The whole path on a real control plane: simulated nodes with real agents' code, the extender, and kube-scheduler."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from gpu_topology.contract import Allocation
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import node
from tests.control_plane.parts import agents, extender
from topology_agent.fleet import load_fleet

SCHEDULER_CONFIG = Path(__file__).parents[2] / "config" / "scheduler-config.yaml"


class Stack:
    """Agents, extender and scheduler beside a running control plane; a context manager that ends what it started.

    Attributes:
        nodes: the names of the nodes.
        with_extender: as given.
        agent: the process that plays all nodes' agents.
        extender: the extender's process.
        extender_url: where it serves filter and prioritize.
        probes_url: where it serves /readyz and /metrics.
        scheduler: the kube-scheduler's process.

    Args:
        control_plane: a running one; the nodes are made there.
        fleet: a file as `topology_agent --simulate` takes it.
        allocation: who chooses a pod's GPUs inside a node.
        with_extender: whether the scheduler is told of the extender; else it is the stock one under the same name.
        extender_arguments: further options of the extender.
        extender_configuration: changes to the scheduler configuration's extender.
        scheduler_arguments: further flags of the scheduler.
    """

    def __init__(  # noqa: PLR0913 - each names one thing that tests vary
        self,
        control_plane: ControlPlane,
        fleet: Path,
        *,
        allocation: Allocation = Allocation.VENDOR,
        with_extender: bool = True,
        extender_arguments: Sequence[str] = (),
        extender_configuration: Mapping[str, Any] | None = None,
        scheduler_arguments: Sequence[str] = (),
    ) -> None:
        self._control_plane = control_plane
        self.with_extender = with_extender
        self._extender_configuration = dict(extender_configuration or {})
        self._scheduler_arguments = scheduler_arguments
        self._running = ExitStack()
        topologies = load_fleet(fleet)
        self._gpus = {name: len(topology) for name, topology in topologies.items()}
        self.nodes = list(topologies)
        self.agent = agents(control_plane, fleet, allocation)
        served = extender(control_plane, arguments=extender_arguments)
        self.extender, self.extender_url, self.probes_url = served.process, served.url, served.probes_url

    def __enter__(self) -> Self:
        client = self._control_plane.client
        for name, gpus in self._gpus.items():
            client.create(node(name, gpus=gpus, cpu="128", memory="1024Gi"))
        with ExitStack() as starting:
            starting.enter_context(self.agent)
            if self.with_extender:
                starting.enter_context(self.extender)
            self.scheduler = starting.enter_context(
                self._control_plane.start_scheduler(
                    self.scheduler_configuration(), name="gpu-scheduler", arguments=self._scheduler_arguments
                )
            )
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def scheduler_configuration(self) -> dict[str, Any]:
        """The shipped configuration, with our extender's port, without a lease: nobody competes here."""
        configuration: dict[str, Any] = yaml.safe_load(SCHEDULER_CONFIG.read_text())
        configuration["leaderElection"] = {"leaderElect": False}
        if self.with_extender:
            configuration["extenders"][0] |= {"urlPrefix": self.extender_url, **self._extender_configuration}
        else:
            del configuration["extenders"]
        return configuration
