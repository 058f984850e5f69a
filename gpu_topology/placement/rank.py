"""The scores 0 to 10 that kube-scheduler is given for the candidates of one call."""

from collections.abc import Sequence
from math import floor, inf, log2
from typing import Final, TypeAlias

from gpu_topology.placement.assess import Assessment
from gpu_topology.request import Communication

MAX_SCORE: Final = 10
"""The most that kube-scheduler's extender contract allows."""

LEFTOVER_SPAN: Final = 2
"""The points by which nodes may differ that give a pod the best there is, and differ in what is left."""

WORTH_GAP: Final = 5
"""The points between the nodes that give a pod the best there is and all others."""

Merit: TypeAlias = tuple[tuple[float, ...], tuple[float, float]]
"""What the pod gets on a node, then leftover and fullness: the larger, the better."""


def rank(assessments: Sequence[Assessment], fullness: Sequence[float]) -> list[int]:
    """A score for each candidate of one call, relative to the others.

    First counts what the pod gets, then the leftover, then fullness; more is better each time.

    - The nodes where the pod gets the best there is among these candidates have 10, 9 and 8: the best of them 10, those
      second by leftover and then fullness 9, the rest 8.
    - All others come at least `WORTH_GAP` below the lowest of these, one point lower for each step in what the pod
      gets, down to 0.
    - Equal nodes have equal scores. Refused ones have 0.

    Examples, by what the pod gets in GB/s / leftover in GPUs::

        376/-4   376/-5   376/-6   376/-8   274/-4   274/-8   48/-4        ->  10 9 8 8 3 3 2
        48/-2    24/-2    13/-2                                            ->  10 5 4
        376/-4   376/-4   376/-4                                           ->  10 10 10

    Why so: kube-scheduler multiplies a score by ten times the extender's weight and adds the in-tree scores. With
    weight 9 one point is 90. A difference in leftover alone is at most 180, less than the 200 of a preferred node
    affinity that one node meets and the other does not (weight 2, 0 to 100). A difference to the best there is in
    what the pod gets is at least 450, more than all in-tree spreading together: NodeResourcesFit 100,
    NodeResourcesBalancedAllocation 100, PodTopologySpread 200.

    What a pod gets is its worth; for one that communicates lightly how often its bandwidth can be doubled without
    passing the best one's; for one that does not communicate it is the same everywhere.

    Args:
        assessments: of each candidate for the same pod.
        fullness: how full each is already, 0 to 1, so that empty machines stay empty.
    """
    return scores_of(merits(assessments, fullness))


def scores_of(merit_of: Sequence[Merit | None]) -> list[int]:
    """The scores that `rank` gives for these merits, for who needs both."""
    scores = _scores({merit for merit in merit_of if merit is not None})
    return [0 if merit is None else scores[merit] for merit in merit_of]


def merits(assessments: Sequence[Assessment], fullness: Sequence[float]) -> list[Merit | None]:
    """What `rank` compares, before it is pressed into eleven scores; sorts from worst to best.

    Args:
        assessments: as for `rank`.
        fullness: as for `rank`.

    Returns:
        For each candidate what the pod gets, then leftover and fullness; None where it was refused.
    """
    passed = [assessment.worth for assessment in assessments if assessment.refusal is None]
    fastest = max((worth.bandwidth_gbps for worth in passed if worth is not None), default=0.0)
    return [
        None if assessment.refusal is not None else (_gets(assessment, fastest), (assessment.leftover, full))
        for assessment, full in zip(assessments, fullness, strict=True)
    ]


def _gets(assessment: Assessment, fastest: float) -> tuple[float, ...]:
    if assessment.worth is None or assessment.communication is Communication.NONE:
        return ()
    if assessment.communication is Communication.LIGHT:
        bandwidth = assessment.worth.bandwidth_gbps
        return (-floor(log2(fastest / bandwidth)),) if bandwidth > 0 else (-inf,)
    return assessment.worth


def _scores(different: set[Merit]) -> dict[Merit, int]:
    """The score of each different merit."""
    best_first = sorted(different, reverse=True)
    gets = list(dict.fromkeys(worth for worth, _ in best_first))
    best = [merit for merit in best_first if merit[0] == gets[0]] if gets else []
    scores = {merit: MAX_SCORE - min(place, LEFTOVER_SPAN) for place, merit in enumerate(best)}
    below = min(scores.values(), default=0) - WORTH_GAP
    points = {worth: max(below - step, 0) for step, worth in enumerate(gets[1:])}
    return scores | {merit: points[merit[0]] for merit in best_first[len(best) :]}
