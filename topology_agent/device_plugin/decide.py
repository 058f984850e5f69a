"""Chooses a container's GPUs, with the function that scored the node for its pod. Pure.

The kubelet asks for one container after the other. `gpu_topology.placement.assess` decides for all containers of a pod,
in the same order, one after the other: what it says for the first does not depend on what the later ones then get. So
asking it again for the rest, with what the earlier ones hold, gives what it said for the whole pod.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from gpu_topology.placement import DEFAULT_DEMAND, LinkTables, gpus_of, mask_of
from gpu_topology.placement.choose import ContainerShape, Devices, choose
from gpu_topology.request import ContainerKind, Wishes
from topology_agent.device_plugin.identify import Subject

_NO_WISHES: Final = Wishes()


@dataclass(frozen=True, slots=True)
class Question:
    """What the kubelet asks.

    Attributes:
        available: ids of the devices to choose from: those that are free, fewer where the Topology Manager aligns the
            pod to NUMA nodes, and those that are required.
        required: ids of the devices that the container gets in any case.
        size: how many it is to have, the required ones included.
    """

    available: tuple[str, ...]
    required: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Machine:
    """What has to be known of the node.

    Attributes:
        tables: of its links.
        uuids: of its GPUs, in the order of their indices.
        out_of_service: GPUs that no pod should get, though the device plugin may offer them.
    """

    tables: LinkTables
    uuids: tuple[str, ...]
    out_of_service: frozenset[int] = frozenset()

    @cached_property
    def index(self) -> Mapping[str, int]:
        """UUID to index."""
        return {uuid: index for index, uuid in enumerate(self.uuids)}

    def mask(self, uuids: frozenset[str] | tuple[str, ...]) -> int:
        """The GPUs with these UUIDs, as a mask; what is none of the node's is left out."""
        return mask_of(self.index[uuid] for uuid in uuids if uuid in self.index)


def decide(machine: Machine, question: Question, subject: Subject | None) -> tuple[str, ...] | None:
    """The ids of the GPUs that a container should get.

    The GPUs that are recorded for it, where they can still be had; else the best set. GPUs that are out of service are
    left aside where the others suffice, and hard wishes are kept where they can be: a kubelet that has admitted a pod
    has to give it something.

    Args:
        machine: the node.
        question: the kubelet's.
        subject: the container; None where it is not known: then one without wishes.

    Returns:
        None where the devices are no whole GPUs of this node, or are too few: then it is not ours to decide.
    """
    if not machine.index.keys() >= {*question.available, *question.required}:
        return None
    required = machine.mask(question.required)
    offered = machine.mask(question.available) | required
    if not required.bit_count() <= question.size <= offered.bit_count():
        return None
    if subject is not None and _can_be_had(machine.mask(subject.assigned), offered, required, question.size):
        return _ids(machine, machine.mask(subject.assigned))
    in_service = offered & ~mask_of(machine.out_of_service) | required
    for free in (in_service, offered):
        if free.bit_count() >= question.size:
            return _ids(machine, _best(machine, free, required, question.size, subject))
    return None


def _can_be_had(recorded: int, offered: int, required: int, size: int) -> bool:
    return recorded.bit_count() == size and not recorded & ~offered and not required & ~recorded


def _best(machine: Machine, free: int, required: int, size: int, subject: Subject | None) -> int:
    """The best set for a container; as a mask, as are the GPUs to choose from and those that it gets in any case.

    Where NUMA alignment leaves no way to serve the later containers too, the container is served for itself.
    """
    shapes, wishes = _asked(subject, size)
    held = required | (machine.mask(subject.held) if subject else 0)
    devices = Devices(free & ~required, required, held)
    for wanted in (wishes, _NO_WISHES):
        for containers in (shapes, shapes[:1]):
            sets = choose(machine.tables, devices, containers, wanted, DEFAULT_DEMAND)
            if sets is not None:
                return sets[0]
    return _first(free & ~required, size - required.bit_count()) | required


def _asked(subject: Subject | None, size: int) -> tuple[Sequence[ContainerShape], Wishes]:
    """The container and those after it, and what their pod wants."""
    if subject is None:
        return [ContainerShape(size, ContainerKind.MAIN)], _NO_WISHES
    rest = subject.request.containers[subject.position :]
    return [ContainerShape(container.gpus, container.kind) for container in rest], subject.request.wishes


def _first(mask: int, count: int) -> int:
    return mask_of(gpus_of(mask)[:count])


def _ids(machine: Machine, mask: int) -> tuple[str, ...]:
    return tuple(machine.uuids[gpu] for gpu in gpus_of(mask))
