"""Which nodes are in which group, both ways, so that thousands of candidates are sorted into groups in no time."""

from collections.abc import Iterator, Sequence
from typing import Final

from extender.groups import Group, Unknown
from extender.reports import UNSEEN

_UNSEEN: Final = Unknown(str(UNSEEN.problem))
"""The group of the nodes that are in none."""


class Places:
    """The nodes by their groups."""

    def __init__(self) -> None:
        self._group_of: dict[str, Group] = {}
        self._members: dict[Group, set[str]] = {}

    def put(self, node: str, group: Group) -> None:
        """A node is in this group from now on."""
        if self._group_of.get(node) is not group:
            self.remove(node)
            self._group_of[node] = group
            self._members.setdefault(group, set()).add(node)

    def remove(self, node: str) -> None:
        """A node is in no group any more."""
        group = self._group_of.pop(node, None)
        if group is not None:
            members = self._members[group]
            members.discard(node)
            if not members:
                del self._members[group]

    def group_of(self, node: str) -> Group:
        """The group of a node; a node that is in none is an unknown one."""
        return self._group_of.get(node, _UNSEEN)

    def among(self, names: Sequence[str]) -> Iterator[tuple[Group, list[str]]]:
        """The groups of the given nodes, each with those of the nodes that are in it, in any order.

        A group may come several times. Of a long list each name is looked at in C only: a loop over 5,000 names would
        take longer than all the rest of a decision.
        """
        if len(names) <= len(self._members):
            yield from ((self.group_of(name), [name]) for name in names)
            return
        wanted = set(names)
        seen = 0
        for group, members in self._members.items():
            found = members & wanted
            if found:
                seen += len(found)
                yield group, list(found)
        if seen < len(wanted):
            yield _UNSEEN, list(wanted.difference(self._group_of))
