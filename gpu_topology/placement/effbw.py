"""MAPA's model of the bandwidth that a set of GPUs reaches, for machines with single and double NVLinks.

Ranganath et al., "MAPA: Multi-Accelerator Pattern Allocation Policy for Multi-Tenant GPU Servers", SC'21: a regression
over measured all-reduce bandwidths of sets of two to five GPUs, in which a ring counts by how many of its links are
double NVLinks, single NVLinks and PCIe. A set's value is that of its best ring.

It is a regression: outside the mixes that it was fitted to it can come out oddly, even below 0.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpu_topology.errors import PlacementError
from gpu_topology.placement.link_graph import LinkGraph
from gpu_topology.placement.masks import Floats, masks_of_size
from gpu_topology.placement.rings import path_steps, starting_at

_PCIE: Final = 0
_SINGLE: Final = 1
_DOUBLE: Final = 2


def effective_bandwidth(double: int, single: int, pcie: int) -> float:
    """GB/s of a ring with so many double NVLinks, single NVLinks and PCIe links.

    A ring of two GPUs counts its link twice.
    """
    x, y, z = double, single, pcie
    return (
        16.39670455 * x
        + 4.536821878 * y
        + 1.55623404 * z
        - 20.69484581 / (x + 1)
        - 9.467461958 / (y + 1)
        + 7.615106783 / (z + 1)
        - 7.973335727 * x * y
        + 12.73323772 * y * z
        - 4.195655221 * x * z
        - 8.413419363 / (x * y + 1)
        + 62.85125807 / (y * z + 1)
        + 27.41832588 / (x * z + 1)
        - 5.114108079 * x * y * z
        - 46.97390071 / (x * y * z + 1)
    )


def effective_bandwidths(graph: LinkGraph) -> Floats:
    """For every set the estimate of its best ring, in GB/s; 0 for fewer than two GPUs.

    Raises:
        PlacementError: some pair has more than two NVLinks, which the regression has never seen.
    """
    if any(links > _DOUBLE for row in graph.nvlinks for links in row):
        raise PlacementError("the effbw model knows single and double NVLinks only: use the ring model here")
    gpus = len(graph)
    table = np.zeros(1 << gpus)
    for first in range(gpus):
        for second in range(first):
            kind = graph.nvlinks[first][second]
            table[1 << first | 1 << second] = effective_bandwidth(
                *(2 * (kind == counted) for counted in (_DOUBLE, _SINGLE, _PCIE))
            )
    rings = _ring_mixes(graph.nvlinks)
    for size in range(3, gpus + 1):
        masks = masks_of_size(gpus, size)
        best = np.full(len(masks), -np.inf)
        for double, single, estimate in _mixes(size):
            possible = rings[double, masks] >> np.uint32(single) & np.uint32(1) == 1
            best[possible] = np.maximum(best[possible], estimate)
        table[masks] = best
    return table


@lru_cache(maxsize=32)
def _mixes(size: int) -> tuple[tuple[int, int, float], ...]:
    """Every mix of links that a ring of this size can have: double, single, and the estimate in GB/s."""
    return tuple(
        (double, single, effective_bandwidth(double, single, size - double - single))
        for double in range(size + 1)
        for single in range(size + 1 - double)
    )


def _ring_mixes(nvlinks: tuple[tuple[int, ...], ...]) -> NDArray[np.uint32]:
    """Which mixes of links the rings through every set have.

    Returns:
        A table with bit s of entry [d, set] saying whether some ring has d double and s single NVLinks.
    """
    gpus = len(nvlinks)
    paths = np.zeros((gpus + 1, gpus, 1 << gpus), dtype=np.uint32)
    for gpu in range(gpus):
        paths[0, gpu, 1 << gpu] = 1
    for end, after, before in path_steps(gpus):
        reached = np.zeros((gpus + 1, len(after)), dtype=np.uint32)
        for previous in range(gpus):
            if previous != end:
                reached |= _lengthened(paths[:, previous, before], nvlinks[previous][end])
        paths[:, end, after] = reached
    rings = np.zeros((gpus + 1, 1 << gpus), dtype=np.uint32)
    for start in range(gpus):
        starting = starting_at(gpus, start)
        for end in range(start + 1, gpus):
            rings[:, starting] |= _lengthened(paths[:, end, starting], nvlinks[end][start])
    return rings


def _lengthened(mixes: NDArray[np.uint32], kind: int) -> NDArray[np.uint32]:
    """The mixes after one more link of this kind."""
    if kind == _SINGLE:
        return mixes << np.uint32(1)
    if kind == _DOUBLE:
        return np.concatenate((np.zeros_like(mixes[:1]), mixes[:-1]))
    return mixes
