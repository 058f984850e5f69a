"""A stream of pods on a real kubelet, while kubelet, device plugin and agent are killed and started again at random."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Protocol

from gpu_topology.errors import SourceError
from tests.control_plane.processes import ChildProcess
from tests.fake_nvml import machine
from tests.kubelet.conftest import NodeOf
from tests.kubelet.gpu_node import GpuNode
from tests.topology_agent.device_plugin.enforced_node import enforcing, wait_until_enforced
from topology_agent.kubelet.client import PodResourcesClient
from topology_agent.kubelet.listing import Listing

PODS = 40
RESTARTS_OF_EACH = 2
LOOK_SECONDS = 0.1
DEADLINE_SECONDS = 120.0
"""It takes some 30: a pod that the kubelet refuses is seen to be refused up to ten seconds later."""
DGX_1V = machine.load("dgx-1v")


class Stream:
    """Pods that come and go, each as soon as there is room, as their controller would see to it.

    Attributes:
        waiting: pods without GPUs yet, and how many they ask for.
        served: pods that have their GPUs.
        remade: how many were refused by the kubelet, as it does while no GPU is offered, and made anew.
        came: how many pods have come in all, those that were made anew counted once.
    """

    def __init__(self, gpu_node: GpuNode, random: Random) -> None:
        self._gpu_node = gpu_node
        self._client = gpu_node.node.control_plane.client
        self._random = random
        self._numbers = count()
        self.waiting: dict[str, int] = {}
        self.served: dict[str, tuple[int, ...]] = {}
        self.remade = 0
        self.came = 0

    def look(self) -> None:
        """Take in what has become of the pods. A GPU that two pods have is a failure."""
        listing = listing_of(self._gpu_node)
        if listing is not None:
            self._take_in(self._gpu_node.held_in(listing))
        for pod in self._client.list("Pod", "default"):
            name, phase = pod["metadata"]["name"], pod["status"].get("phase")
            if phase == "Failed" and name in self.waiting:
                self.remade += 1
                self._delete(name)
                self._create(self.waiting.pop(name))
            assert phase != "Failed" or name not in self.served, pod["status"]

    def go_on(self) -> None:
        """Let a pod come, or one go where there is no room for it."""
        size = self._random.randint(1, 4)
        taken = sum(self.waiting.values()) + sum(map(len, self.served.values()))
        if size <= len(self._gpu_node.topology) - taken:
            self.came += 1
            self._create(size)
        elif self.served:
            self.end(self._random.choice(list(self.served)))

    def end(self, name: str) -> None:
        """Let a pod go."""
        self._delete(name)
        del self.served[name]

    def _create(self, size: int) -> None:
        name = f"pod-{next(self._numbers)}"
        self._client.create(self._gpu_node.pod(name, size))
        self.waiting[name] = size

    def _delete(self, name: str) -> None:
        self._client.delete("Pod", name)

    def _take_in(self, held: dict[str, tuple[int, ...]]) -> None:
        for name, gpus in held.items():
            if len(gpus) == self.waiting.get(name):
                self.served[name] = gpus
                del self.waiting[name]
        present = {name: gpus for name, gpus in held.items() if name in self.waiting} | self.served
        handed_out = [gpu for gpus in present.values() for gpu in gpus]
        assert len(handed_out) == len(set(handed_out)), present
        # Whoever has got GPUs keeps them, unless the kubelet has just come up and lists nobody yet.
        assert all(held.get(name, gpus) == gpus for name, gpus in self.served.items()), (held, self.served)


def test_nobody_is_stuck_or_robbed_when_everything_restarts(node_of: NodeOf, tmp_path: Path) -> None:
    """Every pod gets its GPUs at last, and none that another one has."""
    gpu_node, random = node_of(DGX_1V), Random(1)
    stream, deadline = Stream(gpu_node, random), time.monotonic() + DEADLINE_SECONDS
    with enforcing(gpu_node, tmp_path) as (agent, plugin):
        victims = [gpu_node.node.kubelet, plugin, agent] * RESTARTS_OF_EACH
        random.shuffle(victims)
        with disturbed(victims, random) as disturb:
            calm = False
            while not calm or stream.came < PODS or stream.waiting:
                assert time.monotonic() < deadline, (stream.waiting, stream.remade, gpu_node.node.folder)
                if not calm or stream.came < PODS:
                    stream.go_on()
                calm = disturb(busy=bool(stream.waiting))
                stream.look()
                time.sleep(LOOK_SECONDS)
        wait_until_enforced(gpu_node)
        gpu_node.wait_until_held(lambda held: held == stream.served)
        for name in list(stream.served):
            stream.end(name)
        gpu_node.wait_until_held(lambda held: not held)


class Disturb(Protocol):
    """See `disturbed`."""

    def __call__(self, *, busy: bool) -> bool: ...


@contextmanager
def disturbed(victims: list[ChildProcess], random: Random) -> Iterator[Disturb]:
    """Gives a function that, whenever it is called, may kill the next process, or start it again if it was killed.

    One at a time is away. It is told whether a pod is waiting, for that is when it kills; and returns whether all
    processes have been away and are back.
    """
    left, down = list(victims), list[ChildProcess]()
    starting: list[Future[ChildProcess]] = []
    with ThreadPoolExecutor() as threads:

        def disturb(*, busy: bool) -> bool:
            if starting and starting[0].done():
                starting.pop().result()
            elif down and not starting and random.random() < 0.3:
                starting.append(threads.submit(down.pop().start))
            elif busy and left and not down and not starting and random.random() < 0.2:
                down.append(left.pop())
                down[0].kill()
            return not left and not down and not starting

        yield disturb


def listing_of(gpu_node: GpuNode) -> Listing | None:
    """What the kubelet says at this moment; None while it is away."""

    async def read() -> Listing:
        async with PodResourcesClient(gpu_node.node.pod_resources_socket, timeout_seconds=1) as kubelet:
            return await kubelet.read()

    try:
        return asyncio.run(read())
    except SourceError:
        return None
