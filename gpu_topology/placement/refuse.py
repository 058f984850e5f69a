"""Why a node cannot serve a pod, in sentences for a person."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from gpu_topology.placement.choose import ContainerShape, gpus_needed, keeping
from gpu_topology.placement.masks import Masks, gpus_of
from gpu_topology.placement.tables import LinkTables
from gpu_topology.request import Require, Wishes


class RefusalKind(StrEnum):
    """Why a node cannot serve a pod."""

    TOO_FEW_FREE = "too-few-free"
    REQUIRE = "require"
    """No free set has in common what the pod requires."""
    BANDWIDTH = "bandwidth"
    """No free set that it could take is fast enough."""
    COMBINATION = "combination"
    """Each container could be served, but no way was found to serve all of them."""
    VENDOR_CHOICE = "vendor-choice"
    """A good set is free, but the vendor's device plugin may pick another."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a node cannot serve a pod.

    Attributes:
        message: for a person, without the node's name, capital and full stop.
        unresolvable: no eviction on this node could help.
    """

    kind: RefusalKind
    message: str
    unresolvable: bool


def count_refusal(tables: LinkTables, free: int, containers: Sequence[ContainerShape], usable: int) -> Refusal | None:
    """The refusal of a pod that needs more GPUs than are free."""
    needed = gpus_needed(containers)
    if needed <= free.bit_count():
        return None
    out_of_service = len(tables) - usable.bit_count()
    because = f", {_count(out_of_service)} unhealthy or cordoned" if out_of_service else ""
    message = f"{free.bit_count()} of {len(tables)} GPUs free, {needed} asked for{because}"
    return Refusal(RefusalKind.TOO_FEW_FREE, message, unresolvable=needed > usable.bit_count())


def wish_refusal(
    tables: LinkTables, free: int, containers: Sequence[ContainerShape], wishes: Wishes, usable: int
) -> Refusal | None:
    """The refusal of a pod one of whose containers has no free set that keeps its hard wishes."""
    if not wishes.are_hard:
        return None
    for size in sorted({container.gpus for container in containers} - {1}):
        sets = tables.candidates(free, size)
        if len(keeping(tables, sets, wishes)):
            continue
        unresolvable = tables.exact and not len(keeping(tables, tables.candidates(usable, size), wishes))
        meeting = sets[tables.meets(wishes.require, sets)]
        if not len(meeting):
            message = f"no {size} free GPUs {_in_common(tables, wishes.require)}"
            return Refusal(RefusalKind.REQUIRE, message, unresolvable)
        best = float(tables.bandwidths(meeting).max())
        message = f"no set of {size} reaches {wishes.min_bandwidth_gbps:g} GB/s: the best has {best:.4g}"
        return Refusal(RefusalKind.BANDWIDTH, message, unresolvable)
    return None


def every_set_keeps(tables: LinkTables, free: int, sizes: Iterable[int], wishes: Wishes) -> bool:
    """Whether containers of these sizes have their hard wishes kept whichever free GPUs they get.

    False where not every set can be looked at.
    """
    candidates = [tables.candidates(free, size) for size in set(sizes) - {1}]
    return tables.exact and all(len(keeping(tables, sets, wishes)) == len(sets) for sets in candidates)


def combination_refusal(containers: Sequence[ContainerShape]) -> Refusal:
    """The refusal of a pod whose containers cannot all have sets that keep its hard wishes.

    Not every combination was tried, so it is never said to be unresolvable.
    """
    sizes = ", ".join(str(container.gpus) for container in containers)
    message = f"no way was found to give the containers ({sizes} GPUs) sets that all keep the pod's wishes"
    return Refusal(RefusalKind.COMBINATION, message, unresolvable=False)


def vendor_refusal(tables: LinkTables, options: Sequence[Masks], wishes: Wishes) -> Refusal | None:
    """The refusal of a pod to one of whose containers the vendor's device plugin may give a set that breaks a wish.

    It is never unresolvable: where nothing else is free, the plugin picks the good set.
    """
    for sets in options:
        broken = np.setdiff1d(sets, keeping(tables, sets, wishes))
        if len(broken):
            picked = ", ".join(str(gpu) for gpu in gpus_of(int(broken[0])))
            message = f"the vendor's device plugin may pick GPUs {picked}, {_shortfall(tables, broken[:1], wishes)}"
            return Refusal(RefusalKind.VENDOR_CHOICE, message, unresolvable=False)
    return None


_IN_COMMON: Final = {
    Require.NUMA: "are known to share a NUMA node",
    Require.PCIE_SWITCH: "are known to be under one PCIe switch",
    Require.NVLINK: "are all linked by NVLink",
}


def _in_common(tables: LinkTables, require: Require) -> str:
    hidden = require is Require.PCIE_SWITCH and not tables.graph.pcie_known
    return _IN_COMMON[require] + (": the PCIe paths between some are unknown" if hidden else "")


def _shortfall(tables: LinkTables, one_set: Masks, wishes: Wishes) -> str:
    if not tables.meets(wishes.require, one_set)[0]:
        return "not all of which " + _in_common(tables, wishes.require)
    return f"which reach {tables.bandwidths(one_set)[0]:.4g} GB/s of {wishes.min_bandwidth_gbps:g}"


def _count(gpus: int) -> str:
    return "one is" if gpus == 1 else f"{gpus} are"
