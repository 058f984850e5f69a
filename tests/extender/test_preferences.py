from typing import Any

import pytest

from extender.preferences import CandidateLimits, has_preferences

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "main"}], **spec}}


def spreading(when: str) -> dict[str, Any]:
    return {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when}


PREFERRING = [
    pod(affinity={"nodeAffinity": {PREFERRED: [{"weight": 1}]}}),
    pod(affinity={"podAffinity": {PREFERRED: [{"weight": 1}]}}),
    pod(affinity={"podAntiAffinity": {PREFERRED: [{"weight": 1}]}}),
    pod(topologySpreadConstraints=[spreading("DoNotSchedule"), spreading("ScheduleAnyway")]),
]

INDIFFERENT = [
    pod(),
    pod(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}),
    pod(affinity={"nodeAffinity": {PREFERRED: []}}),
    pod(affinity=None, topologySpreadConstraints=None),
    pod(topologySpreadConstraints=[spreading("DoNotSchedule")]),
    pod(affinity={"nodeAffinity": "foreign"}, topologySpreadConstraints="foreign"),
    pod(affinity=[1], topologySpreadConstraints=[1]),
    {"spec": "foreign"},
    {},
]


@pytest.mark.parametrize("made", PREFERRING)
def test_a_soft_wish_about_nodes_or_neighbours_is_a_preference(made: dict[str, Any]) -> None:
    assert has_preferences(made)
    assert CandidateLimits(20, 100).of(made) == 100


@pytest.mark.parametrize("made", INDIFFERENT)
def test_what_is_required_or_foreign_is_none(made: dict[str, Any]) -> None:
    assert not has_preferences(made)
    assert CandidateLimits(20, 100).of(made) == 20


@pytest.mark.parametrize(("limits", "expected"), [((0, 100), 0), ((20, 0), 0), ((200, 100), 200)])
def test_a_pod_with_preferences_never_gets_fewer_candidates(limits: tuple[int, int], expected: int) -> None:
    assert CandidateLimits(*limits).of(PREFERRING[0]) == expected
