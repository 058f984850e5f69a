"""Whether a hard wish is kept on a node whatever becomes of the pods of which it is not known which GPUs they take.

Such are pods that may be on their way there, and, where the vendor's device plugin chooses, pods that are bound there
and that the agent has yet to show. How many GPUs they take is certain, so that counts need no such care.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Final

from extender.book import NodeBook
from extender.bookings import taken_by
from extender.groups import Situation
from gpu_topology.contract import Allocation
from gpu_topology.placement import DEFAULT_DEMAND, every_set_keeps, gpus_of, mask_of
from gpu_topology.request import GpuRequest

MOST_COMING: Final = 5
"""Pods on their way to one node of which every selection is looked at, where the node gives them what we would choose.
With more, they may have any of its GPUs."""
MOST_SETS: Final = 70
"""Sets of GPUs that may be gone of which each is looked at: all that 8 GPUs have. With more, nothing is promised."""


def is_unsettled(book: NodeBook) -> bool:
    """Whether pods are on a node of which only the number of GPUs is known, not which."""
    is_vendors = isinstance(book.group, Situation) and book.group.allocation is Allocation.VENDOR
    return is_vendors and not book.expected.keys() <= book.exclusive


def holds(book: NodeBook, request: GpuRequest, coming: Sequence[GpuRequest]) -> bool:
    """Whether a pod that could be served on a node now could be so too in every case that may come.

    Args:
        book: the node's page.
        request: the pod's.
        coming: what pods ask for that may be on their way there. Those of which kube-scheduler knows that there is no
            room for them beside this one are not: it counts them.
    """
    if not isinstance(book.group, Situation):
        return True
    if book.group.allocation is Allocation.BEST and len(coming) <= MOST_COMING:
        return all(_is_served(after, request) for after in _after(book.group, request, coming))
    return _holds_whatever_is_gone(book, book.group, request, coming)


def _is_served(situation: Situation, request: GpuRequest) -> bool:
    return situation.assess(request, DEFAULT_DEMAND).refusal is None


def _after(situation: Situation, request: GpuRequest, coming: Sequence[GpuRequest]) -> Iterator[Situation]:
    """The node once some of the pods have come and were given what placement chooses for them."""
    room = situation.free.bit_count() - request.total
    for number in range(len(coming) + 1):
        for arrived in combinations(coming, number):
            if sum(pod.total for pod in arrived) <= room:
                after = situation
                for pod in arrived:
                    after = replace(after, free=after.free & ~taken_by(pod, after, DEFAULT_DEMAND))
                yield after


def _holds_whatever_is_gone(
    book: NodeBook, situation: Situation, request: GpuRequest, coming: Sequence[GpuRequest]
) -> bool:
    """The same where the others may have any of the GPUs."""
    uncertain = mask_of(gpu for pod in book.expected.keys() - book.exclusive for gpu in gpus_of(book.expected[pod]))
    open_to_all = situation.free | uncertain
    if every_set_keeps(situation.tables, open_to_all, (each.gpus for each in request.containers), request.wishes):
        return True
    room = situation.free.bit_count() - request.total
    for size in (uncertain.bit_count() + arriving for arriving in _totals(coming) if arriving <= room):
        if comb(open_to_all.bit_count(), size) > MOST_SETS:
            return False
        for gone in combinations(gpus_of(open_to_all), size):
            if not _is_served(replace(situation, free=open_to_all & ~mask_of(gone)), request):
                return False
    return True


def _totals(coming: Sequence[GpuRequest]) -> set[int]:
    """The numbers of GPUs that some of the pods ask for together, 0 for none of them included."""
    totals = {0}
    for pod in coming:
        totals |= {total + pod.total for total in totals}
    return totals
