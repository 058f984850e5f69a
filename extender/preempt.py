"""Preempt: which of the pods that kube-scheduler would evict have to go for a pod's GPUs.

kube-scheduler proposes evictions by counting: on every node that is short, the least important pods whose leaving makes
the counts fit. Whether the GPUs that become free are linked as the pod needs is for the books to say, which know who
has which GPU.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final

from extender.failures import is_left_out
from extender.groups import Situation
from extender.ledger import Ledger
from extender.wire import Victims
from gpu_topology.contract import Allocation
from gpu_topology.placement import DEFAULT_DEMAND, mask_of
from gpu_topology.request import GpuRequest

EXACT_VICTIMS: Final = 10
"""The most victims with GPUs on a node of which all combinations are tried: 1,023. Beyond, they are let off one by one,
the most important first, as long as the others suffice."""


def choose_victims(ledger: Ledger, request: GpuRequest, offered: Mapping[str, Victims]) -> dict[str, Victims]:
    """Keep only the victims whose leaving gives a pod its GPUs, and only the nodes where that is possible.

    The result holds a part of what was offered, never anything else:

    - Of the victims that hold GPUs as few as possible are kept, and of equally many the least important ones.
    - Victims without GPUs are kept: kube-scheduler needs them gone for something that is not in the books, such as
      CPUs. For the same reason all are kept where the pod's GPUs are free already.
    - A PodDisruptionBudget protects some of the victims, but only their number is said, not who they are; of those that
      are kept, that many may be protected, or all if they are fewer.
    - Slices of GPUs have no links, so kube-scheduler's count is all that there is to know about them: if the pod asks
      for some, no victim is spared.
    - A node that is left out, because GPU pods keep failing there, is no place to evict others from.
    - A node of which too little is known stays as it is, by kube-scheduler's count alone, unless the pod has a hard
      wish, which nobody could promise to keep there.

    Args:
        ledger: the books.
        request: what the pod asks for.
        offered: node to the victims that kube-scheduler proposes.
    """
    chosen = {
        node: victims if request.is_empty else _chosen(_page(ledger, node), request, victims)
        for node, victims in offered.items()
        if request.is_empty or not is_left_out(ledger.standings.get(node))
    }
    # kube-scheduler takes a node without victims for an error.
    return {node: victims for node, victims in chosen.items() if victims is not None and victims.uids}


def frees_itself(ledger: Ledger, request: GpuRequest, node: str) -> bool:
    """Whether a node can serve a pod once its report shows that pods have left that the API server no longer has.

    After an eviction that is a matter of moments, in which kube-scheduler counts the GPUs as free already.
    """
    page = _page(ledger, node)
    if page is None:
        return False
    gone = page.holders - {pod.identity.uid for pod in ledger.pods_on(node)}
    whole = page.situation.split(request).whole
    return bool(gone) and not whole.is_empty and page.can_serve(whole, gone)


def nominated_node_of(pod: Mapping[str, Any]) -> str | None:
    """The node on which kube-scheduler has had others evicted for a pod in the API server's JSON form, or None."""
    status = pod.get("status")
    node = status.get("nominatedNodeName") if isinstance(status, Mapping) else None
    return node if isinstance(node, str) and node else None


@dataclass(frozen=True, slots=True)
class _Page:
    """A known node: its situation, and the mask of the GPUs that each pod has by the report, or is expected to get."""

    situation: Situation
    gpus_of: dict[str, int] = field(default_factory=dict)

    @property
    def holders(self) -> AbstractSet[str]:
        """The UIDs of the pods that have GPUs."""
        return {uid for uid, gpus in self.gpus_of.items() if gpus}

    def without(self, leaving: AbstractSet[str]) -> Situation:
        """The node's situation once these pods have left."""
        left = kept = 0
        for uid, gpus in self.gpus_of.items():
            left, kept = (left | gpus, kept) if uid in leaving else (left, kept | gpus)
        return replace(self.situation, free=self.situation.free | (left & ~kept & self.situation.usable))

    def can_serve(self, request: GpuRequest, leaving: AbstractSet[str]) -> bool:
        """Whether the pod can go here once these pods have left."""
        return self.without(leaving).assess(request, DEFAULT_DEMAND).refusal is None

    def could_serve_at_best(self, request: GpuRequest, leaving: AbstractSet[str]) -> bool:
        """Whether some GPUs would do, if not those that the vendor's device plugin may pick."""
        enforced = replace(self.without(leaving), allocation=Allocation.BEST)
        return enforced.assess(request, DEFAULT_DEMAND).refusal is None


def _page(ledger: Ledger, node: str) -> _Page | None:
    """A node's page as far as evictions matter; None if too little is known of it."""
    book = ledger.book(node)
    if book is None or not isinstance(book.group, Situation) or book.report.state is None:
        return None
    uid_of = {pod.identity.key: pod.identity.uid for pod in ledger.pods_on(node)}
    gpus_of: defaultdict[str, int] = defaultdict(int)
    for holder in book.report.state.held:
        # A pod that the API server does not have keeps its name: no UID is like it.
        gpus_of[holder.pod_uid or uid_of.get(holder.pod, holder.pod)] |= mask_of(holder.gpus)
    for pod, gpus in book.expected.items():
        gpus_of[uid_of.get(pod, pod)] |= gpus
    return _Page(book.group, gpus_of)


def _chosen(page: _Page | None, request: GpuRequest, offered: Victims) -> Victims | None:
    """The victims to keep on a node; None if evicting them does not help."""
    if page is None:
        return None if request.wishes.are_hard else offered
    asked = page.situation.split(request)
    if asked.whole.is_empty or page.can_serve(asked.whole, frozenset()):
        return offered
    if asked.slices:
        return offered if page.can_serve(asked.whole, set(offered.uids)) else None
    holders = [uid for uid in offered.uids if page.gpus_of.get(uid)]
    needed = _needed(page, request, holders)
    if needed is None:
        return None
    spared = set(holders) - needed
    kept = tuple(uid for uid in offered.uids if uid not in spared)
    return Victims(kept, min(offered.pdb_violations, len(kept)))


def _needed(page: _Page, request: GpuRequest, holders: Sequence[str]) -> AbstractSet[str] | None:
    """The fewest and least important of some pods, given the most important first, whose leaving is enough, or None."""
    if not page.could_serve_at_best(request, set(holders)):
        return None
    if len(holders) > EXACT_VICTIMS:
        return _one_by_one(page, request, holders)
    for places in _fewest_and_least_important(len(holders)):
        leaving = {holders[place] for place in places}
        if page.can_serve(request, leaving):
            return leaving
    return None


def _one_by_one(page: _Page, request: GpuRequest, holders: Sequence[str]) -> AbstractSet[str] | None:
    """What is left of some pods when none can be let off any more; None if not even all are enough."""
    leaving = set(holders)
    if not page.can_serve(request, leaving):
        return None
    for uid in holders:
        if page.can_serve(request, leaving - {uid}):
            leaving.remove(uid)
    return leaving


@cache
def _fewest_and_least_important(count: int) -> tuple[tuple[int, ...], ...]:
    """All ways to choose from so many pods, of which the first is the most important: as places in their list.

    The fewest come first; of equally many those whose most important pod is the least important one, then by the
    second, and so on. As bit masks with the least important pod in the lowest bit that is their order as numbers.
    """
    masks = sorted(range(1, 1 << count), key=int.bit_count)
    return tuple(tuple(place for place in range(count) if mask >> (count - 1 - place) & 1) for mask in masks)
