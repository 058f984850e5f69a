"""What the books say of a node, for a person or a program that wants to look."""

from dataclasses import asdict
from typing import Any

from extender.book import NodeBook
from extender.groups import Situation
from extender.ledger import Ledger
from gpu_topology.placement import gpus_of


def account_of(ledger: Ledger, node: str) -> dict[str, Any] | None:
    """A node's page of the books as JSON; None if there is no such node.

    - `node`: its name.
    - `knowledge`, `problem`: whether its GPUs are known, and if not, why not.
    - `sequence`: of the agent's report that the books rest on; null without one.
    - `free`, `usable`: indices of the GPUs that a pod could get now, and that are healthy; null where unknown.
    - `held`: pod to the GPUs that the report says it has.
    - `expected`: pod to the GPUs that it is thought to get, for pods that the report does not show in full.
    - `exclusive`: those of them that are sure to get exactly these; of the others only the number is sure.
    - `slices`: for every GPU that is cut or shared and every resource of its parts the `total` number and how many are
      `free`, those that pods are thought to get taken off; null where unknown.
    - `expected_slices`: pod to resource to the number of slices that it is thought to get.
    """
    book = ledger.book(node)
    return None if book is None else _account(node, book)


def _account(node: str, book: NodeBook) -> dict[str, Any]:
    state = book.report.state
    situation = book.group if isinstance(book.group, Situation) else None
    held: dict[str, list[int]] = {}
    for holder in state.held if state else ():
        held.setdefault(holder.pod, []).extend(holder.gpus)
    return {
        "node": node,
        "knowledge": book.report.knowledge.value,
        "problem": book.report.problem,
        "sequence": state.sequence if state else None,
        "free": gpus_of(situation.free) if situation else None,
        "usable": gpus_of(situation.usable) if situation else None,
        "held": held,
        "expected": {pod: gpus_of(mask) for pod, mask in book.expected.items()},
        "exclusive": sorted(book.exclusive),
        "slices": None if situation is None or situation.slices is None else list(map(asdict, situation.slices)),
        "expected_slices": {pod: dict(counts) for pod, counts in book.expected_slices.items()},
    }
