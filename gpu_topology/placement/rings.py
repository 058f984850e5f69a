"""The best ring through every set of GPUs.

NCCL and its like run a collective over a set as a ring that visits each GPU once; its slowest link sets the pace. So
the best ring is the one whose slowest link is fastest, and among those the one with the largest sum of links.

Held and Karp's dynamic programme over subsets (Journal of SIAM 10, 1962), once for each different bandwidth from the
fastest down, with only the links of at least that bandwidth: the first round that closes a ring through a set names
its bottleneck.
"""

from functools import lru_cache
from itertools import combinations

import numpy as np

from gpu_topology.placement.masks import Integers, Masks, masks_of_size

_SHORTEST_RING = 3
_NO_PATH = -(1 << 40)
"""Low enough that adding every link of a ring leaves it below 0."""


def best_rings(bandwidth: Integers) -> tuple[Integers, Integers]:
    """The bottleneck and the sum of the best ring through every set.

    A set of two has its link as its ring, counted once; smaller ones have 0.

    Args:
        bandwidth: n x n, symmetric, positive off the diagonal.

    Returns:
        Two tables over the 2^n sets, in the unit of `bandwidth`.
    """
    gpus = len(bandwidth)
    bottleneck = np.zeros(1 << gpus, dtype=np.int64)
    total = np.zeros(1 << gpus, dtype=np.int64)
    pairs = list(combinations(range(gpus), 2))
    for first, second in pairs:
        bottleneck[1 << first | 1 << second] = total[1 << first | 1 << second] = bandwidth[first, second]
    open_sets = np.bitwise_count(np.arange(1 << gpus)) >= _SHORTEST_RING
    for least in sorted({int(bandwidth[pair]) for pair in pairs}, reverse=True):
        if not open_sets.any():
            break
        sums = _ring_sums(bandwidth, least)
        closed = open_sets & (sums > 0)
        bottleneck[closed] = least
        total[closed] = sums[closed]
        open_sets &= ~closed
    return bottleneck, total


def _ring_sums(bandwidth: Integers, least: int) -> Integers:
    """For every set the largest sum of a ring whose links all have at least `least`, negative where there is none."""
    gpus = len(bandwidth)
    paths = np.full((gpus, 1 << gpus), _NO_PATH, dtype=np.int64)
    for gpu in range(gpus):
        paths[gpu, 1 << gpu] = 0
    for end, after, before in path_steps(gpus):
        longest = np.full(len(after), _NO_PATH, dtype=np.int64)
        for previous in np.flatnonzero(bandwidth[end] >= least):
            np.maximum(longest, paths[previous, before] + bandwidth[previous, end], out=longest)
        paths[end, after] = longest
    sums = np.full(1 << gpus, _NO_PATH, dtype=np.int64)
    for start in range(gpus):
        starting = starting_at(gpus, start)
        for end in range(start + 1, gpus):
            if bandwidth[end, start] >= least:
                sums[starting] = np.maximum(sums[starting], paths[end, starting] + bandwidth[end, start])
    return sums


def starting_at(gpus: int, start: int) -> slice:
    """The sets whose first GPU is `start`, as an index into a table."""
    return slice(1 << start, 1 << gpus, 2 << start)


@lru_cache(maxsize=32)
def path_steps(gpus: int) -> tuple[tuple[int, Masks, Masks], ...]:
    """The steps that lengthen every path by one GPU, in an order that finds each shorter path first.

    A path starts at its set's first GPU, so `end` is a later one. Each step is the GPU where the paths then end, the
    sets that they then cover, and the sets that they covered before.
    """
    steps = []
    for size in range(2, gpus + 1):
        masks = masks_of_size(gpus, size)
        first = masks & -masks
        for end in range(1, gpus):
            after = masks[(masks >> end & 1 == 1) & (first < 1 << end)]
            if len(after):
                steps.append((end, after, after ^ (1 << end)))
    return tuple(steps)
