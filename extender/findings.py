"""Whether what the books expected has come true, and whether their two sources agree. Pure.

A pod is expected to get certain GPUs until the agent's report shows which it has. And since Kubernetes 1.36 the pod's
own status names its GPUs too: a second witness of what the agent reports, with no agent in between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from extender.book import NodeBook
from extender.bookings import shown_gpus
from extender.pods import BoundPod, PodIdentity
from extender.reports import NodeReport
from gpu_topology.contract import Allocation
from gpu_topology.placement import gpus_of


class Basis(StrEnum):
    """What an expectation rests on, and so what it takes to come true."""

    RECORDED = "recorded"
    """The node gives the pod what is recorded on it: exactly these GPUs."""
    ENFORCED = "enforced"
    """The node decides with our own function: a set that is worth as much."""
    PREDICTED = "predicted"
    """The vendor's device plugin decides: a set that is worth as much as the least that it was thought to pick."""


@dataclass(frozen=True, slots=True)
class Allotment:
    """The GPUs that a pod got, once the agent shows all of them.

    Attributes:
        node: where.
        pod: "<namespace>/<name>".
        expected: indices of the GPUs that it was expected to get.
        given: indices of those that it has.
        agrees: whether that is as `basis` says.
    """

    node: str
    pod: str
    basis: Basis
    expected: tuple[int, ...]
    given: tuple[int, ...]
    agrees: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a pod's own status says of its GPUs, beside what the agent says.

    Attributes:
        node: where.
        pod: "<namespace>/<name>".
        status: UUIDs by the pod's status, in alphabetical order.
        report: UUIDs by the agent's report, likewise.
    """

    node: str
    pod: str
    status: tuple[str, ...]
    report: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether both name the same GPUs."""
        return self.status == self.report


def allotments(node: str, before: NodeBook, report: NodeReport, pods: Sequence[BoundPod]) -> Iterator[Allotment]:
    """What became of a node's expectations with a new report.

    Args:
        node: its name.
        before: its page so far.
        report: the new report.
        pods: the pods that are bound there.
    """
    if before.report.state is None or report.state is None or report.machine is None:
        return
    if before.report.machine is not report.machine:
        return  # the indices of other GPUs
    worth = report.machine.tables.worth
    for pod in pods:
        missing = before.expected.get(pod.identity.key, 0)
        expected = missing | shown_gpus(pod, before.report.state.held)
        given = shown_gpus(pod, report.state.held)
        if missing and given.bit_count() == expected.bit_count():
            basis = basis_of(before, pod.identity.key)
            agrees = given == expected or (basis is not Basis.RECORDED and worth(given) >= worth(expected))
            yield Allotment(node, pod.identity.key, basis, tuple(gpus_of(expected)), tuple(gpus_of(given)), agrees)


def basis_of(page: NodeBook, pod: str) -> Basis:
    """What the expectation about the pod "<namespace>/<name>" rests on."""
    if pod in page.exclusive:
        return Basis.RECORDED
    enforces = page.report.state is not None and page.report.state.allocation is Allocation.BEST
    return Basis.ENFORCED if enforces else Basis.PREDICTED


Finding: TypeAlias = Allotment | Evidence
"""What somebody may want to count or to log."""


class Witnesses:
    """Hears both sources about each pod, and tells when they first agree, or begin or cease to differ."""

    def __init__(self) -> None:
        self._agreed: dict[PodIdentity, bool] = {}

    def hear(self, node: str, report: NodeReport, pods: Sequence[BoundPod]) -> Iterator[Evidence]:
        """What is new in what is said of the pods of a node.

        Where the two speak of different numbers of GPUs, one of them lags behind, and nothing is concluded.
        """
        if report.state is None or report.machine is None:
            return
        uuids = [uuid or "" for uuid in report.machine.uuids]
        for pod in pods:
            if pod.witnessed is None:
                continue
            reported = sorted(uuids[gpu] for gpu in gpus_of(shown_gpus(pod, report.state.held)))
            evidence = Evidence(node, pod.identity.key, pod.witnessed, tuple(reported))
            if len(reported) == len(pod.witnessed) and self._agreed.get(pod.identity) is not evidence.agrees:
                self._agreed[pod.identity] = evidence.agrees
                yield evidence

    def forget(self, pod: PodIdentity) -> None:
        """A pod is gone."""
        self._agreed.pop(pod, None)
