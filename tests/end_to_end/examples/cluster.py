"""The cluster on which the examples run: a real control plane with its controllers, and nodes that are played."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from gpu_topology.contract import Allocation, Holder, encode_topology
from gpu_topology.topology import NodeTopology
from tests.control_plane.client import Client, Object, Objects
from tests.control_plane.objects import is_bound, node
from tests.control_plane.observer import Observer
from tests.control_plane.stack import Stack
from tests.end_to_end.examples.shell import Shell
from topology_agent.occupancy import Occupancy
from topology_agent.report import NodeReport

NAMESPACE = "team"
"""Where the examples are applied; Pod Security enforces `restricted` there."""
MACHINES = {
    "hgx-h100": "NVIDIA-H100-80GB-HBM3",
    "dgx-1v": "Tesla-V100-SXM2-32GB",
    "bridged-pairs-8": "NVIDIA-A100-80GB-PCIe",
    "pcie-8": "NVIDIA-L40S",
}
"""The nodes, each named after its machine profile, and their GPU model as GPU feature discovery would label it."""
CONTROLLERS = (
    "deployment-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "replicaset-controller",
    "resourcequota-controller",
)
"""What the examples need of kube-controller-manager."""
MADE_BY_EXAMPLES = (
    "deployments,replicasets,jobs,services,configmaps,resourcequotas,"
    "persistentvolumeclaims,persistentvolumes,storageclasses,events"
)
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.1

Seen = TypeVar("Seen")


class ExampleCluster:
    """Examples are applied to it with the real kubectl; what becomes of them is seen through the API server.

    Attributes:
        client: the admin's.
        stack: agents, extender and scheduler.
        observer: looks at what the agents publish.
        shell: has `kubectl`, in the examples' namespace, and `gputopo`, which asks the extender.
    """

    def __init__(self, client: Client, stack: Stack, shell: Shell) -> None:
        self.client = client
        self.stack = stack
        self.observer = Observer(client, stack)
        self.shell = shell

    def apply(self, example: Path) -> None:
        """Apply an example as its reader would."""
        self.shell.run(f"kubectl apply --server-side --warnings-as-errors -f {example}")

    def pods(self) -> Objects:
        """The pods of the examples."""
        return self.client.list("Pod", NAMESPACE)

    def wait_for_bound(self, number: int) -> Objects:
        """The pods once there are so many that are bound."""
        return until(lambda: [pod for pod in self.pods() if is_bound(pod)], lambda bound: len(bound) == number)

    def holders(self, pod: Object) -> list[Holder]:
        """Which GPUs of its node each container of a bound pod has."""
        state = self.observer.states()[pod["spec"]["nodeName"]]
        return [holder for holder in state.held if holder.pod_uid == pod["metadata"]["uid"]]

    def books(self, node: str) -> dict[str, Any]:
        """What the extender's books say of a node."""
        page: dict[str, Any] = httpx.get(f"{self.stack.extender_url}/v1/nodes/{node}", trust_env=False).json()
        return page

    def say(self, pod: Object, **status: object) -> None:
        """Report a pod's status in the place of its kubelet."""
        self.client.patch("Pod", pod["metadata"]["name"], {"status": status}, NAMESPACE, subresource="status")

    def add_node(self, name: str, topology: NodeTopology, occupancy: Occupancy, resources: Mapping[str, int]) -> None:
        """A further node, of which the agent reports this, and whose kubelet offers these resources."""
        self.client.create(node(name))
        self.report(name, topology, occupancy)
        self.offer(name, resources)

    def report(self, name: str, topology: NodeTopology, occupancy: Occupancy) -> None:
        """Publish what a node's agent would."""
        report = NodeReport(encode_topology(topology), occupancy, Allocation.VENDOR)
        present = self.client.get("Node", name)["metadata"].get("annotations", {})
        self.client.patch("Node", name, {"metadata": {"annotations": report.changes(present)}})

    def offer(self, name: str, resources: Mapping[str, int]) -> None:
        """Let a node's kubelet offer these numbers of its devices."""
        offered = {resource: str(number) for resource, number in resources.items()}
        self.client.patch("Node", name, {"status": {"capacity": offered, "allocatable": offered}}, subresource="status")

    @contextmanager
    def cordoned(self, *names: str) -> Iterator[None]:
        """These nodes take no new pods while the block runs."""
        self.shell.run(f"kubectl cordon {' '.join(names)}")
        try:
            yield
        finally:
            self.shell.run(f"kubectl uncordon {' '.join(names)}")

    def clear(self) -> None:
        """Delete what the examples have made. No kubelet is there that would end the pods, so they get no grace."""
        self.shell.run(f"kubectl delete {MADE_BY_EXAMPLES} --all --wait=false")
        until(self._pods_and_volumes, lambda left: not left)
        for added in set(self.observer.states()) - set(MACHINES):
            self.client.delete("Node", added)

    def _pods_and_volumes(self) -> Objects:
        """Those that are left; the pods are deleted until none is made any more, and then the volumes go."""
        self.client.delete_all("Pod")
        return [*self.pods(), *self.client.list("PersistentVolume")]


def until(look: Callable[[], Seen], wanted: Callable[[Seen], bool]) -> Seen:
    """Look again and again until what is seen is as wanted.

    Raises:
        TimeoutError: it is not so in time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not wanted(seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {PATIENCE_SECONDS:g} s this is seen: {seen}")
        time.sleep(POLL_SECONDS)
    return seen
