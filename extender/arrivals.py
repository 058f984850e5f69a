"""Sees the pods that were decided about here arrive on their nodes.

Both replicas see every pod that is bound; only the one that was asked about it remembers a decision.
"""

from collections.abc import Callable
from typing import Any

from extender.decisions import Decisions
from extender.ledger import Ledger
from extender.placed import Placed, placed_of
from extender.pods import PodIdentity, identity_of

Tell = Callable[[PodIdentity, Placed], None]
"""Takes what a pod got."""


class Arrivals:
    """A `kubernetes_api.Handler` of pods, to be told after the ledger.

    Args:
        ledger: the books, which have the pod already.
        decisions: what was decided about which pods.
        tell: called once for each of them that is bound and has a container of several whole GPUs.
    """

    def __init__(self, ledger: Ledger, decisions: Decisions, tell: Tell) -> None:
        self._ledger = ledger
        self._decisions = decisions
        self._tell = tell

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the pods that are bound."""
        for obj in objects:
            self.changed(obj)

    def changed(self, obj: dict[str, Any]) -> None:
        """A pod was bound or changed."""
        identity = identity_of(obj)
        decision = self._decisions.of(identity)
        if decision is None or decision.has_arrived:
            return
        if decision.filtered is None or not decision.filtered.passed:
            return  # another one has decided
        bound = self._ledger.bound(identity)
        if bound is None:
            return
        decision.has_arrived = True
        placed = placed_of(bound, self._ledger.book(bound.node))
        if placed is not None:
            self._tell(identity, placed)

    def deleted(self, obj: dict[str, Any]) -> None:
        """A pod is gone: nothing to tell."""
