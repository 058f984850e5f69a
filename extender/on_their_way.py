"""Pods that have passed filter and are not seen bound yet.

kube-scheduler serves the next pod while it still binds the one before, and no verb tells which node that one was given.
Its own books count it there, so that no node is short of GPUs by surprise; but which GPUs are gone, nobody can say.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from extender.pods import PodIdentity
from gpu_topology.request import GpuRequest

LONGEST_WAY: Final = timedelta(seconds=30)
"""From filter to the binding, for all but pods that wait for a volume to be made. It takes some ten milliseconds."""
MOST_PODS: Final = 256
"""On their way at the same time: far more than kube-scheduler binds at once."""


@dataclass(frozen=True, slots=True)
class Traveller:
    """A pod that may be on its way to any of some nodes.

    Attributes:
        pod: which one.
        request: what it asks for.
        nodes: those that it passed filter for.
        since: when that was.
    """

    pod: PodIdentity
    request: GpuRequest
    nodes: frozenset[str]
    since: datetime


class OnTheirWay:
    """Keeps the pods that are on their way.

    Args:
        has_arrived: whether a pod is in the books, wherever it was bound.
    """

    def __init__(self, has_arrived: Callable[[PodIdentity], bool]) -> None:
        self._has_arrived = has_arrived
        self._travellers: OrderedDict[str, Traveller] = OrderedDict()

    def sent(self, pod: PodIdentity, request: GpuRequest, nodes: Iterable[str], now: datetime) -> None:
        """A pod was answered: it may go to any of these nodes, or, if there are none, to no node at all."""
        self._travellers.pop(pod.key, None)
        nodes = frozenset(nodes)
        if nodes and request.containers:
            self._travellers[pod.key] = Traveller(pod, request, nodes, now)
            if len(self._travellers) > MOST_PODS:
                self._travellers.popitem(last=False)

    def arrived(self, pod: PodIdentity) -> None:
        """A pod was seen bound, or gone after it had been: it is not on its way any more, whatever becomes of it."""
        traveller = self._travellers.get(pod.key)
        if traveller is not None and traveller.pod == pod:
            del self._travellers[pod.key]

    def beside(self, pod: PodIdentity, now: datetime) -> list[Traveller]:
        """The others that are on their way while a pod is decided about, the first to come first."""
        for key, traveller in list(self._travellers.items()):
            if self._has_arrived(traveller.pod) or now - traveller.since > LONGEST_WAY:
                del self._travellers[key]
        return [traveller for key, traveller in self._travellers.items() if key != pod.key]
