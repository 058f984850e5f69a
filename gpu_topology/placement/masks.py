"""Sets of GPUs as bit masks, and tables with one entry for each of the 2^n sets of n GPUs.

Bit i of a mask is GPU i. A table is a numpy array that a mask indexes, so that a question about all sets at once is
one vectorised expression.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Masks: TypeAlias = NDArray[np.integer[Any]]
Integers: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]


def mask_of(gpus: Iterable[int]) -> int:
    """The mask with exactly these GPUs."""
    mask = 0
    for gpu in gpus:
        mask |= 1 << gpu
    return mask


def gpus_of(mask: int) -> tuple[int, ...]:
    """The GPUs of a mask, ascending."""
    return tuple(gpu for gpu in range(mask.bit_length()) if mask >> gpu & 1)


@lru_cache(maxsize=512)
def masks_of_size(gpus: int, size: int) -> Masks:
    """Every set of `size` out of `gpus` GPUs, ascending; shared, hence read-only."""
    everything = np.arange(1 << gpus, dtype=np.int64)
    masks: Masks = everything[np.bitwise_count(everything) == size]
    masks.flags.writeable = False
    return masks


def subsets_of_size(gpus: int, within: int, size: int) -> Masks:
    """Every set of `size` GPUs inside the mask `within`, ascending."""
    masks = masks_of_size(gpus, size)
    inside: Masks = masks[(masks & ~within) == 0]
    return inside


def all_pairs(related: Sequence[int]) -> Flags:
    """For every set, whether each two of its GPUs are related.

    Args:
        related: for each GPU, the mask of the GPUs that it is related to; symmetric.
    """
    table = np.ones(1 << len(related), dtype=np.bool_)
    for gpu, others in enumerate(related):
        below = np.arange(1 << gpu, dtype=np.int64)
        table[1 << gpu : 2 << gpu] = table[: 1 << gpu] & ((below & ~others) == 0)
    return table


def pair_sums(matrix: Integers) -> Integers:
    """For every set, the sum of a symmetric n x n matrix over the pairs of its GPUs."""
    table = np.zeros(1 << len(matrix), dtype=np.int64)
    for gpu, row in enumerate(matrix):
        table[1 << gpu : 2 << gpu] = table[: 1 << gpu] + _sums(row[:gpu])
    return table


def _sums(values: Integers) -> Integers:
    """For every set, the sum of its GPUs' values."""
    table = np.zeros(1, dtype=np.int64)
    for value in values:
        table = np.concatenate((table, table + value))
    return table


def spread_to_supersets(table: Integers) -> None:
    """Raise every entry to the largest among the set's subsets, in place."""
    for gpu in range(len(table).bit_length() - 1):
        halves = table.reshape(-1, 2, 1 << gpu)
        np.maximum(halves[:, 1], halves[:, 0], out=halves[:, 1])
