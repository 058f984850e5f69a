"""A node with GPUs as a test uses it: pods are started and ended there, and what they hold is asked of the kubelet."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gpu_topology.errors import SourceError
from tests.control_plane.client import Object
from tests.control_plane.objects import pod
from tests.kubelet.driver import FakeDriver
from tests.kubelet.node import KubeletNode
from topology_agent.kubelet.client import PodResourcesClient
from topology_agent.kubelet.listing import Listing

LISTED_SECONDS = 30.0
"""How long the kubelet may take to list what has become of a pod; it takes some hundred milliseconds."""
POLL_SECONDS = 0.05
"""Between two looks, of two calls each. The kubelet takes 100 a second."""


class GpuNode:
    """A running node and the GPUs that a device plugin offers there: pods come and go, and what they hold is seen.

    Attributes:
        node: the kubelet's side.
        driver: the GPUs, as programs see them.
        topology: the links between them.
    """

    def __init__(self, node: KubeletNode, driver: FakeDriver) -> None:
        self.node = node
        self.driver = driver
        self.topology = driver.machine.topology()
        self._client = node.control_plane.client
        self._indices = {uuid: index for index, uuid in enumerate(driver.machine.uuids)}

    def start(self, name: str, gpus: int, command: Sequence[str] = ()) -> Object:
        """Create a pod that is bound to this node and wait until the kubelet has given it its GPUs.

        Args:
            name: the pod's.
            gpus: how many GPUs it asks for, at least one.
            command: a program of this machine; else the pod sleeps until it is ended.

        Returns:
            The pod as created.

        Raises:
            TimeoutError: the kubelet gives it none in time, or refuses the pod; the message has its status.
        """
        created = self._client.create(self.pod(name, gpus, command))
        try:
            self.wait_until_held(lambda held: len(held.get(name, ())) == gpus)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the pod: {self._client.get('Pod', name)['status']}") from error
        return created

    def pod(self, name: str, gpus: int, command: Sequence[str] = ()) -> Object:
        """A pod, not created yet, as `start` creates it."""
        bound = pod(name, gpus=gpus)
        bound["spec"] |= {"nodeName": self.node.name, "restartPolicy": "Never"}
        bound["spec"]["containers"][0]["command"] = list(command)
        return bound

    def end(self, name: str, *, grace_seconds: int = 5) -> None:
        """Delete a pod and wait until the kubelet has its GPUs back; without grace it is gone from the API at once."""
        self._client.delete("Pod", name, grace_seconds=grace_seconds)
        self._client.wait_until_deleted("Pod", name)
        self.wait_until_held(lambda held: name not in held)

    def held(self) -> dict[str, tuple[int, ...]]:
        """Which GPUs each pod with GPUs has."""
        return self.held_in(self.listing())

    def free(self) -> tuple[int, ...]:
        """The GPUs that no pod has."""
        taken = {gpu for gpus in self.held().values() for gpu in gpus}
        return tuple(gpu for gpu in range(len(self.topology)) if gpu not in taken)

    def listing(self) -> Listing:
        """What the kubelet's PodResources socket tells at this moment, through the agent's own client.

        Raises:
            TimeoutError: it does not answer for long. A kubelet that restarts or was asked too often is waited for.
        """
        return self._wait_for(lambda _: True)

    def indices_of(self, uuids: Sequence[str]) -> tuple[int, ...]:
        """GPUs by index, ascending."""
        return tuple(sorted(self._indices[uuid] for uuid in uuids))

    def wait_until_held(self, predicate: Callable[[dict[str, tuple[int, ...]]], bool]) -> None:
        """Wait until what `held` returns is as wanted.

        Raises:
            TimeoutError: it is not so in time.
        """
        self._wait_for(lambda listing: predicate(self.held_in(listing)))

    def wait_until_offered(self, gpus: int) -> tuple[str, ...]:
        """Wait until the device plugin offers so many healthy GPUs to the kubelet, held or not; return their ids.

        Raises:
            TimeoutError: it does not in time.
        """
        return self._wait_for(lambda listing: len(listing.allocatable) == gpus).allocatable

    def held_in(self, listing: Listing) -> dict[str, tuple[int, ...]]:
        """Which GPUs each pod with GPUs has, by what the kubelet has told."""
        return {
            entry.pod.removeprefix("default/"): self.indices_of(entry.devices)
            for entry in listing.containers
            if entry.devices
        }

    def _wait_for(self, predicate: Callable[[Listing], bool]) -> Listing:
        last: Listing | SourceError | None = None
        deadline = time.monotonic() + LISTED_SECONDS
        while time.monotonic() < deadline:
            try:
                last = asyncio.run(_read(self.node.pod_resources_socket))
            except SourceError as error:
                last = error
            else:
                if predicate(last):
                    return last
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"{self.node.name} does not tell what is wanted after {LISTED_SECONDS:g} s; last: {last}")


async def _read(socket: Path) -> Listing:
    async with PodResourcesClient(socket) as kubelet:
        return await kubelet.read()
