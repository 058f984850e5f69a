"""What nodes have to offer to a kind of pod, found out once for each situation that nodes are in.

Different situations often offer the same: which half of a switched machine is free makes no difference to a pod. Such
situations share one offer, so that a request over thousands of names costs two look-ups a name, and no more than the
few dozen offers that differ have to be ranked.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from extender.groups import Group, Unknown
from gpu_topology.placement import Assessment, Demand, Refusal, SetWorth
from gpu_topology.request import GpuRequest

REMEMBERED_REQUESTS: Final = 64
"""Kinds of request whose offers are kept; a cluster's queue has a handful at a time."""
REMEMBERED_SITUATIONS: Final = 8192
"""Situations whose offers to one kind of request are kept; more than 5,000 busy nodes are in."""


@dataclass(frozen=True, eq=False, slots=True)
class Able:
    """The node can serve the pod.

    Attributes:
        assessment: what the pod would get. Of equal offers it is that of one situation: worth and leftover are the
            same for all, which GPUs they are is not.
        fullness: `Situation.fullness`.
    """

    assessment: Assessment
    fullness: float


UNCOUNTED: Final = Unknown("the node's agent does not say which parts of GPUs are free")
"""What a node offers to a pod that asks for slices if its agent is too old to count them."""


@dataclass(frozen=True, eq=False, slots=True)
class Refused:
    """The node cannot serve the pod."""

    refusal: Refusal


Offer: TypeAlias = Able | Refused | Unknown
"""What a node offers. Compared by identity: `Offers` makes one object of equal ones."""


class Offers(dict[Group, Offer]):
    """What each group offers to one kind of request; a group that is missing is asked about."""

    def __init__(self, request: GpuRequest, demand: Demand) -> None:
        super().__init__()
        self._request = request
        self._demand = demand
        self._distinct: dict[Refusal | tuple[SetWorth | None, float, float], Offer] = {}

    def __missing__(self, group: Group) -> Offer:
        if len(self) >= REMEMBERED_SITUATIONS:
            self.clear()
            self._distinct.clear()
        offer = self[group] = self._find(group)
        return offer

    def _find(self, group: Group) -> Offer:
        if isinstance(group, Unknown):
            return group
        assessment = group.assess(self._request, self._demand)
        if assessment.refusal is not None:
            return self._distinct.setdefault(assessment.refusal, Refused(assessment.refusal))
        if not group.counts(self._request):
            return UNCOUNTED
        same = (assessment.worth, assessment.leftover, group.fullness)
        return self._distinct.setdefault(same, Able(assessment, group.fullness))


class Market:
    """The offers of all groups to the kinds of request that were seen of late.

    Args:
        demand: the request sizes that are expected next.
    """

    def __init__(self, demand: Demand) -> None:
        self._demand = demand
        self._by_request: OrderedDict[GpuRequest, Offers] = OrderedDict()

    def offers(self, request: GpuRequest) -> Offers:
        """What each group offers to such a request."""
        offers = self._by_request.get(request)
        if offers is None:
            offers = self._by_request[request] = Offers(request, self._demand)
            if len(self._by_request) > REMEMBERED_REQUESTS:
                self._by_request.popitem(last=False)
        else:
            self._by_request.move_to_end(request)
        return offers
