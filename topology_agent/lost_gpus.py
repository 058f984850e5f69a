"""A lost GPU tells nothing of itself any more: what it was is remembered from before it was lost. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from gpu_topology.topology import Nic, NodeTopology

_Cell = TypeVar("_Cell")


def remember_lost(now: NodeTopology, before: NodeTopology, lost: Collection[int]) -> NodeTopology:
    """The topology with what was known before of each lost GPU, so that its loss is a change of state, not of hardware.

    Without this a lost GPU would have no UUID, by which the kubelet knows who holds it, and no links.

    Args:
        now: as read with these GPUs lost.
        before: as read last. Where it has another number of GPUs, they cannot be told to be the same and `now` stands.
        lost: the indices.
    """
    if len(now) != len(before) or not lost or any(_differ(now, before, index) for index in range(len(now))):
        return now
    cards = {nic.name: nic for nic in before.nics}
    return replace(
        now,
        gpus=tuple(before.gpus[index] if index in lost else gpu for index, gpu in enumerate(now.gpus)),
        pcie=_matrix(now.pcie, before.pcie, lost),
        nvlinks=_matrix(now.nvlinks, before.nvlinks, lost),
        p2p=_matrix(now.p2p, before.p2p, lost),
        nvswitch=now.nvswitch if now.nvswitch is not None else before.nvswitch,
        nics=tuple(_nic(nic, cards.get(nic.name, nic), lost) for nic in now.nics),
    )


def _differ(now: NodeTopology, before: NodeTopology, index: int) -> bool:
    """Whether the position is known to hold another GPU than before."""
    present, former = now.gpus[index].uuid, before.gpus[index].uuid
    return present is not None and former is not None and present != former


def _matrix(
    now: Sequence[Sequence[_Cell]], before: Sequence[Sequence[_Cell]], lost: Collection[int]
) -> tuple[tuple[_Cell, ...], ...]:
    size = range(len(now))
    return tuple(tuple((before if i in lost or j in lost else now)[i][j] for j in size) for i in size)


def _nic(now: Nic, before: Nic, lost: Collection[int]) -> Nic:
    return replace(
        now, pcie=tuple(before.pcie[index] if index in lost else cell for index, cell in enumerate(now.pcie))
    )
