"""A node's page in the books."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from extender.groups import Group
from extender.reports import NodeReport


@dataclass(frozen=True, slots=True)
class NodeBook:
    """A node's page in the books.

    Attributes:
        report: what the node's annotations say.
        expected: "<namespace>/<name>" to a mask of GPUs, for pods that the report does not yet show in full.
        group: the nodes that no decision can tell from this one.
        expected_slices: "<namespace>/<name>" to resource to a number of slices, for pods that the report does not yet
            show in full.
        exclusive: those of `expected` that are sure to get exactly these GPUs.
    """

    report: NodeReport
    expected: Mapping[str, int]
    group: Group
    expected_slices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exclusive: frozenset[str] = frozenset()
