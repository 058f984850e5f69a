"""What the books say of a node, for a person or a program that wants to look."""

from dataclasses import asdict
from typing import Any, Final

from extender.book import NodeBook
from extender.dra import Claim
from extender.failures import Standing, Verdict
from extender.groups import Situation
from extender.ledger import Ledger
from gpu_topology.placement import gpus_of

_GOOD: Final = Verdict(Standing.GOOD, "")


def account_of(ledger: Ledger, node: str) -> dict[str, Any] | None:
    """A node's page of the books as JSON; None if there is no such node.

    - `node`: its name.
    - `knowledge`, `problem`: whether its GPUs are known, and if not, why not.
    - `standing`, `standing_reason`, `left_out_until`: whether GPU pods keep failing there (`extender.failures`), why it
      is not good, and until when it gets none; the last two null otherwise.
    - `sequence`: of the agent's report that the books rest on; null without one.
    - `free`, `usable`: indices of the GPUs that a pod could get now, and that are healthy; null where unknown.
    - `held`: pod to the GPUs that the report says it has.
    - `expected`: pod to the GPUs that it is thought to get, for pods that the report does not show in full.
    - `exclusive`: those of them that are sure to get exactly these; of the others only the number is sure.
    - `claimed`: pod to what it has from a DRA driver: the `claim`, the number of `gpus` in all and for each of the
      `containers`. Which GPUs these are is not known.
    - `slices`: for every GPU that is cut or shared and every resource of its parts the `total` number and how many are
      `free`, those that pods are thought to get taken off; null where unknown.
    - `expected_slices`: pod to resource to the number of slices that it is thought to get.
    """
    book = ledger.book(node)
    return None if book is None else _account(ledger, node, book)


def account_of_standing(ledger: Ledger, node: str) -> dict[str, str | None]:
    """How GPU pods fare on a node, why if not well, and until when it gets none, as JSON."""
    verdict = ledger.standings.get(node, _GOOD)
    return {
        "standing": verdict.standing.value,
        "standing_reason": verdict.reason or None,
        "left_out_until": None if verdict.until is None else verdict.until.isoformat(timespec="seconds"),
    }


def account_of_claim(claim: Claim) -> dict[str, Any]:
    """What a pod has from a DRA driver, as JSON."""
    containers = {container.name: container.gpus for container in claim.request.containers}
    return {"claim": claim.name, "gpus": claim.request.total, "containers": containers}


def _account(ledger: Ledger, node: str, book: NodeBook) -> dict[str, Any]:
    state = book.report.state
    situation = book.group if isinstance(book.group, Situation) else None
    held: dict[str, list[int]] = {}
    for holder in state.held if state else ():
        held.setdefault(holder.pod, []).extend(holder.gpus)
    return {
        "node": node,
        "knowledge": book.knowledge.value,
        "problem": book.problem,
        **account_of_standing(ledger, node),
        "sequence": state.sequence if state else None,
        "free": gpus_of(situation.free) if situation else None,
        "usable": gpus_of(situation.usable) if situation else None,
        "held": held,
        "expected": {pod: gpus_of(mask) for pod, mask in book.expected.items()},
        "exclusive": sorted(book.exclusive),
        "claimed": {pod: account_of_claim(claim) for pod, claim in book.claimed.items()},
        "slices": None if situation is None or situation.slices is None else list(map(asdict, situation.slices)),
        "expected_slices": {pod: dict(counts) for pod, counts in book.expected_slices.items()},
    }
