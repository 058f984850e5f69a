"""How many nodes filter passes on: more for a pod that says itself which nodes it would rather have.

kube-scheduler weighs such preferences only among the nodes that filter has passed on. To all other pods the best few
are as good as all, and the fewer they are, the less work they make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class CandidateLimits:
    """The most nodes that filter passes on.

    Attributes:
        plain: for a pod without preferences; 0: all.
        with_preferences: for one that has some, unless the other limit is higher; 0: all.
    """

    plain: int = 20
    with_preferences: int = 100

    def of(self, pod: Mapping[str, Any]) -> int:
        """The limit for a pod in the API server's JSON form; 0: none."""
        if not self.plain or not has_preferences(pod):
            return self.plain
        return self.with_preferences and max(self.plain, self.with_preferences)


DEFAULT_LIMITS: Final = CandidateLimits()


def has_preferences(pod: Mapping[str, Any]) -> bool:
    """Whether a pod in the API server's JSON form prefers some nodes, or some neighbours, without requiring them.

    What is missing or foreign counts as not there.
    """
    spec = _mapping(pod.get("spec"))
    affinities = _mapping(spec.get("affinity")).values()
    if any(_mapping(affinity).get(_PREFERRED) for affinity in affinities):
        return True
    constraints = spec.get("topologySpreadConstraints")
    return isinstance(constraints, list) and any(
        _mapping(constraint).get("whenUnsatisfiable") == "ScheduleAnyway" for constraint in constraints
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
