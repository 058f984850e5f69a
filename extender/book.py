"""A node's page in the books."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from extender.dra import Claim, problem_of
from extender.groups import Group
from extender.reports import Knowledge, NodeReport


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
        claimed: "<namespace>/<name>" to what the pod has from a DRA driver.
        device_class: the DRA class that the node's GPUs are handed out by; None where a device plugin does.
    """

    report: NodeReport
    expected: Mapping[str, int]
    group: Group
    expected_slices: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exclusive: frozenset[str] = frozenset()
    claimed: Mapping[str, Claim] = field(default_factory=dict)
    device_class: str | None = None

    @property
    def knowledge(self) -> Knowledge:
        """Whether the node's GPUs are known, or what stands in the way."""
        return self.report.knowledge if self.device_class is None else Knowledge.DRA

    @property
    def problem(self) -> str | None:
        """The same in a sentence for a person; None if known."""
        return self.report.problem if self.device_class is None else problem_of(self.device_class)
