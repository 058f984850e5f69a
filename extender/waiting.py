"""The pods that kube-scheduler has asked about of late, those that wait among them."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from extender.decisions import Decision
from extender.explain import asked_for
from extender.ledger import Ledger


def pods_asked_about(ledger: Ledger, decisions: Iterable[Decision]) -> dict[str, Any]:
    """What was asked and answered about each pod, as JSON, those asked about last first; see docs/http-api.md.

    Args:
        ledger: knows which are bound by now.
        decisions: those that are remembered.
    """
    return {"pods": [_pod(ledger, decision) for decision in decisions][::-1]}


def _pod(ledger: Ledger, decision: Decision) -> dict[str, Any]:
    bound, asked_at, filtered = ledger.bound(decision.pod), decision.asked_at, decision.filtered
    return {
        "pod": decision.pod.key,
        "uid": decision.pod.uid,
        "asks_for": asked_for(decision.request),
        "problem": decision.problem,
        "bound_to": bound.node if bound else None,
        "asked_at": asked_at.isoformat(timespec="seconds") if asked_at else None,
        "last_filter": asdict(filtered) | {"at": filtered.at.isoformat(timespec="seconds")} if filtered else None,
    }
