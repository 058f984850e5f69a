"""What the GPUs that stay free are good for: the requests expected next, and how well each could still be served."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from gpu_topology.placement.masks import Floats, Integers, Masks, masks_of_size, spread_to_supersets
from gpu_topology.placement.worth import Locality


@dataclass(frozen=True)
class Demand:
    """How often each request size is expected next.

    Attributes:
        shares: (GPUs, share) by ascending size; the shares add up to 1, or there are none and nothing is expected.
    """

    shares: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, counts: Mapping[int, float]) -> "Demand":
        """The demand in which each size comes as often as it is counted here.

        Args:
            counts: request size in GPUs to how often it was seen; sizes below 1 are no requests and do not count.
        """
        seen = {size: count for size, count in counts.items() if size > 0 and count > 0}
        total = sum(seen.values())
        return cls(tuple((size, seen[size] / total) for size in sorted(seen)))

    @classmethod
    def learnt(cls, counts: Mapping[int, float]) -> "Demand":
        """The demand after these requests were seen: the default fades as they become many.

        Args:
            counts: as for `of`; `PRIOR_REQUESTS` seen requests weigh as much as the default.
        """
        prior = {size: share * PRIOR_REQUESTS for size, share in DEFAULT_DEMAND.shares}
        sizes = prior.keys() | counts.keys()
        return cls.of({size: prior.get(size, 0.0) + counts.get(size, 0.0) for size in sizes})


DEFAULT_DEMAND: Final = Demand.of({1: 78, 2: 7, 4: 8, 8: 7})
"""What is expected before any request has been seen: the sizes of 12,699 jobs over 60 days in the ITP trace (cluster
c07), in percent."""

PRIOR_REQUESTS: Final = 100
"""How many requests the default demand counts for once others have been seen."""

_SERVED: Final = 500_000
_BANDWIDTH: Final = 450_000
_LOCALITY: Final = 50_000
"""What serving a request counts, in millionths: half for serving it at all, the rest for how well.

The share of the best bandwidth counts squared, so that a fast set and a slow one are worth more than two in between:
whoever communicates looks for the fast one. Locality counts little, but it is all that tells sets apart where an
NVSwitch links every pair alike. Whole numbers, so that sums do not depend on the order of their terms.
"""


def usefulness(bandwidth_gbps: Floats, locality: Integers) -> Integers:
    """How well each of these sets of equal size would serve a request, in millionths of perfectly.

    Args:
        bandwidth_gbps: of each set; the largest is what "perfectly" means.
        locality: of each set.
    """
    best = max(float(bandwidth_gbps.max()), 0.0)
    share = np.clip(bandwidth_gbps, 0.0, None) / best if best > 0 else np.ones(len(bandwidth_gbps))
    nearness = locality / int(~Locality(0))
    useful: Integers = _SERVED + np.rint(_BANDWIDTH * share**2 + _LOCALITY * nearness).astype(np.int64)
    return useful


def served_together(gpus: int, size: int, useful: Integers) -> Integers:
    """For every set of free GPUs, how useful it is to as many requests of one size as fit, each with its own set.

    Args:
        gpus: n.
        size: GPUs of each request, at least 1.
        useful: the usefulness of `masks_of_size(gpus, size)`.

    Returns:
        A table over the 2^n sets: the largest sum over disjoint sets of that size. No GPU lowers it.
    """
    alone = np.zeros(1 << gpus, dtype=np.int64)
    alone[masks_of_size(gpus, size)] = useful
    together = alone.copy()
    for covered in range(2 * size, gpus + 1, size):
        masks = masks_of_size(gpus, covered)
        parts = _parts_with_first(masks, gpus, covered, size)
        together[masks] = (alone[parts] + together[masks[:, np.newaxis] ^ parts]).max(axis=1)
    spread_to_supersets(together)
    return together


def _parts_with_first(masks: Masks, gpus: int, covered: int, size: int) -> Integers:
    """For each mask of `covered` GPUs, its subsets of `size` that hold its first GPU."""
    present = (masks[:, np.newaxis] >> np.arange(gpus)) & 1
    members = (1 << np.nonzero(present)[1]).reshape(len(masks), covered)
    choices = np.array(list(combinations(range(covered - 1), size - 1)), dtype=np.int64)
    others = np.zeros((covered - 1, len(choices)))
    others[choices, np.arange(len(choices))[:, np.newaxis]] = 1
    # Multiplied as floats, which is exact far beyond 2^16 and much faster than numpy's integers.
    rest: Integers = (members[:, 1:].astype(np.float64) @ others).astype(np.int64)
    return members[:, :1] + rest
