"""Which GPUs NVIDIA's device plugin may pick when nobody steers it.

The plugin asks the "best effort" policy of go-gpuallocator (v0.6.0), which scores pairs of GPUs, divides everything
free into sets of the size asked for, keeps the best division and takes the best set of that. `pick` follows it on one
list of the free GPUs. The plugin lists them in random order, and the order breaks ties: `predict` gives every set that
some order leads to.

Scores are the vendor's integers. They tell what will be picked, not how fast it is.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from math import comb, factorial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpu_topology.errors import PlacementError
from gpu_topology.links import PcieAncestor
from gpu_topology.placement.masks import gpus_of, mask_of
from gpu_topology.topology import NodeTopology

Scores: TypeAlias = tuple[tuple[int, ...], ...]
"""n x n: the vendor's score of every pair of GPUs, symmetric, 0 on the diagonal."""

_Places: TypeAlias = tuple[int, ...]
"""A set of places in a list of free GPUs, ascending; those beyond the list's end are blanks."""
_Partition: TypeAlias = tuple[_Places, ...]
_Masks: TypeAlias = NDArray[np.int64]

_PCIE_SCORE: Final = {
    PcieAncestor.SYS: 10,
    PcieAncestor.NODE: 20,
    PcieAncestor.PHB: 30,
    PcieAncestor.PXB: 40,
    PcieAncestor.PIX: 50,
    PcieAncestor.PSB: 60,
}
_NVLINK_SCORE: Final = 100
_MOST_NVLINKS: Final = 18  # the library counts no further

_MOST_SETS_IN_A_PARTITION: Final = 6  # from seven on, the library overwrites its best partition
_SHAPES_KEPT: Final = 256
"""Numbers of free GPUs times sizes whose enumeration is kept: all 120 that 16 GPUs have. Some MiB together."""
_MOST_PARTITIONS: Final = 7_000  # a few milliseconds; 8 of 16 GPUs make 6,435
_MOST_GPUS: Final = 62  # a set is a bit mask in a signed 64-bit integer
_MOST_OUTCOMES: Final = comb(16, 8)


class VendorCrash(PlacementError):  # noqa: N818 - what happens to the plugin, not a mistake of the caller
    """The library would answer with a nil device, which the plugin dereferences."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Every set that the vendor's plugin may pick.

    Attributes:
        predictable: whether the other attributes are exact. Where not, what can happen is still among `outcomes`, but
            so may be what cannot, and `may_crash` is True unless a crash is ruled out.
        reason: one sentence that says why it is not predictable; None where it is.
        scores: the distinct vendor scores of `outcomes`, ascending, with the least for a pair that is not fully known.
        outcomes: bit masks of the sets that may be picked, ascending. Empty where every order of the free GPUs
            crashes; and where it is not predictable and the sets are too many to list: then it may be any.
        may_crash: whether some order makes the plugin crash.
    """

    predictable: bool
    reason: str | None
    scores: tuple[int, ...]
    outcomes: tuple[int, ...]
    may_crash: bool


def vendor_scores(topology: NodeTopology) -> Scores:
    """The vendor's score of every pair: its PCIe ancestor, plus 100 for each NVLink up to 18.

    NVLinks that go through an NVSwitch do not count: the library looks for GPUs at their far ends and finds switches.

    What the topology does not tell counts as the least it can be. A pair without a PCIe ancestor scores as `SYS`:
    `nvidia-smi topo -m` hides the ancestor of every NVLink pair. It is no constant offset: on a DGX-1V it decides
    between partitions with equal NVLinks. NVLinks do not count where `nvswitch` is None. Give `predict` the
    `highest_vendor_scores` along with these, and it follows the doubt through.
    """

    def score(first: int, second: int) -> int:
        nvlinks = topology.nvlinks[first][second] if topology.nvswitch is False else 0
        return _pair_score(topology.pcie[first][second], nvlinks, unknown=PcieAncestor.SYS)

    return _matrix(len(topology), score)


def highest_vendor_scores(topology: NodeTopology) -> Scores:
    """As `vendor_scores`, but what the topology does not tell counts as the most it can be.

    A pair without a PCIe ancestor scores as one board, NVLinks count where `nvswitch` is None, and every pair has 18
    where `nvlinks_complete` is False. Equal to `vendor_scores` where everything is known.
    """

    def score(first: int, second: int) -> int:
        nvlinks = topology.nvlinks[first][second] if topology.nvlinks_complete else _MOST_NVLINKS
        return _pair_score(topology.pcie[first][second], 0 if topology.nvswitch else nvlinks, unknown=PcieAncestor.PSB)

    return _matrix(len(topology), score)


def pick(scores: Scores, order: Sequence[int], size: int, required: Sequence[int] = ()) -> tuple[int, ...]:
    """The GPUs that the vendor's library picks from one list of the free GPUs.

    It divides the list, padded with blanks to a multiple of `size`, into sets of `size`, each with all of the blanks
    or none of them. Of the partitions with a set without blanks that holds the required GPUs, the first with the
    highest total wins; of its sets that hold the required GPUs, the first with the highest score. The library's
    defects are part of it: that set may hold blanks, and from seven sets on a later partition may overwrite the winner.

    The time grows with the number of partitions, as it does in the library: at most 280 for 8 GPUs, but 2.6 million
    for 16 GPUs in sets of 4.

    Args:
        scores: of all GPUs of the node.
        order: the free GPUs, as the plugin lists them.
        size: how many are asked for.
        required: GPUs that the set must hold.

    Returns:
        The set; empty where the library has no answer, for example when fewer GPUs are free than asked for.

    Raises:
        VendorCrash: the winning set holds blanks.
    """
    if not 0 < size <= len(order) or len(required) > size or not set(required) <= set(order):
        return ()
    needed = {order.index(gpu) for gpu in required}

    @cache
    def score(places: _Places) -> int:
        gpus = [order[place] for place in places if place < len(order)]
        return sum(scores[first][second] for first, second in combinations(gpus, 2))

    candidates = [places for places in _best_partition(len(order), size, needed, score) if needed <= set(places)]
    if not candidates:
        return ()
    best = max(candidates, key=score)
    if best[-1] >= len(order):
        raise VendorCrash(f"Of {len(order)} free GPUs in sets of {size}, the library picks a set that is not full.")
    return tuple(order[place] for place in best)


def predict(scores: Scores, free: int, size: int, *, highest: Scores | None = None) -> Prediction:
    """Every set that the vendor's plugin may pick, over all orders in which it may list the free GPUs.

    A partition whose sets stand one after another in the list, the one with blanks last, is the first that the library
    meets. So every partition with the highest total may win, and each of its best full sets may come first in it.
    `_blanks_may_win` has the argument for the set with blanks.

    Args:
        scores: of all GPUs of the node; where `highest` is given, the least that each can be.
        free: bit mask of the free GPUs.
        size: how many are asked for.
        highest: the most that each score can be; None where `scores` are certain.

    Raises:
        PlacementError: `free` holds GPUs that `scores` does not have, or not as many GPUs as are asked for.
    """
    gpus = _members(scores, free, size)
    doubt = _unclear_pair(scores, highest, gpus) if size > 1 else None
    beyond = _beyond_enumeration(len(scores), len(gpus), size)
    if beyond is not None:
        return _any_set(scores, gpus, size, beyond)
    partitions = _partition_masks(len(gpus), size)
    least = _set_scores(scores, gpus, partitions)
    most = least if highest is None or doubt is None else _set_scores(highest, gpus, partitions)
    may_be_best = most.sum(axis=1) >= least.sum(axis=1).max()
    partitions, least, most = partitions[may_be_best], least[may_be_best], most[may_be_best]
    may_win = most >= least.max(axis=1, keepdims=True)
    blanks = len(gpus) % size != 0
    full = slice(1 if blanks else 0, None)
    return Prediction(
        predictable=doubt is None,
        reason=doubt,
        scores=tuple(np.unique(least[:, full][may_win[:, full]]).tolist()),
        outcomes=_gpu_masks(gpus, partitions[:, full][may_win[:, full]]),
        may_crash=blanks and bool(may_win[:, 0].any()) and (doubt is not None or _blanks_may_win(partitions, least)),
    )


def prepare(gpus: int) -> None:
    """Enumerate ahead what predictions on nodes with so many GPUs share, so that none of them has to.

    It takes some milliseconds for 8 GPUs and most of a second for 16.
    """
    for count in range(2, gpus + 1):
        for size in range(2, count + 1):
            if _beyond_enumeration(gpus, count, size) is None:
                _partition_masks(count, size)


def _pair_score(ancestor: PcieAncestor | None, nvlinks: int, *, unknown: PcieAncestor) -> int:
    return _PCIE_SCORE[unknown if ancestor is None else ancestor] + _NVLINK_SCORE * min(nvlinks, _MOST_NVLINKS)


def _matrix(size: int, score: Callable[[int, int], int]) -> Scores:
    return tuple(
        tuple(0 if first == second else score(first, second) for second in range(size)) for first in range(size)
    )


def _best_partition(count: int, size: int, needed: set[int], score: Callable[[_Places], int]) -> _Partition:
    """The partition that the library holds for the best after it has met them all; empty if none can be used."""
    best: _Partition = ()
    best_total = -1
    kept = _sets_not_overwritten(count, size)
    for partition in _partitions(count, size):
        if partition[:kept] == best[:kept]:
            best = partition
        if any(needed <= set(places) and places[-1] < count for places in partition):
            total = sum(map(score, partition))
            if total > best_total:
                best, best_total = partition, total
    return best


def _sets_not_overwritten(count: int, size: int) -> int:
    """How many of the first sets of a partition the library keeps in memory of its own.

    It builds partitions with Go's `append`, whose arrays hold 1, 2, 4, 8... sets. Partitions that are the same up to
    and including the set that called for the last array share that array: the later ones overwrite the rest.
    """
    sets = -(-count // size)
    return (1 << (sets - 1).bit_length() >> 1) + 1


def _partitions(count: int, size: int) -> Iterator[_Partition]:
    """Partitions of `count` places, padded with blanks, into sets of `size`, in the order in which the library goes.

    Sets of one are the library's special case: each is a partition of its own.
    """
    if size == 1:
        yield from (((place,),) for place in range(count))
    else:
        yield from _divide(tuple(range(count)), tuple(range(count, count + -count % size)), size)


def _divide(places: _Places, blanks: _Places, size: int) -> Iterator[_Partition]:
    """Partitions of these places and blanks: the first place with any others, then what is left in the same way."""
    if len(places) + len(blanks) == size:
        yield (places + blanks,)
        return
    first, rest = places[:1], places[1:]
    others = combinations(rest, size - 1)
    with_blanks = (some + blanks for some in combinations(rest, size - 1 - len(blanks)))
    for chosen in heapq.merge(others, with_blanks) if blanks else others:
        left = tuple(place for place in rest if place not in chosen)
        blanks_left = () if chosen[-1:] == blanks[-1:] else blanks
        yield from ((first + chosen, *tail) for tail in _divide(left, blanks_left, size))


@lru_cache(maxsize=_SHAPES_KEPT)
def _partition_masks(count: int, size: int) -> _Masks:
    """One row for each partition and one bit mask of places for each set; the set with blanks, if any, comes first."""
    rows = [sorted(partition, key=lambda places: places[-1] < count) for partition in _partitions(count, size)]
    return np.array([[mask_of(place for place in places if place < count) for places in row] for row in rows], np.int64)


@lru_cache(maxsize=_SHAPES_KEPT)
def _set_masks(count: int, size: int) -> _Masks:
    return np.array([mask_of(places) for places in combinations(range(count), size)], np.int64)


def _gpu_masks(gpus: Sequence[int], masks: _Masks) -> tuple[int, ...]:
    """The same sets as masks of GPUs instead of places, ascending."""
    of_gpus = _holds(masks, len(gpus)) @ (1 << np.array(gpus, np.int64))
    return tuple(np.unique(of_gpus).tolist())


def _set_scores(scores: Scores, gpus: Sequence[int], masks: _Masks) -> _Masks:
    """The score of each set, in the shape of `masks`: the sum over its pairs."""
    between = np.array(scores, np.float64)[np.ix_(gpus, gpus)]  # a product of floats is many times faster
    holds = _holds(masks, len(gpus)).astype(np.float64)
    totals: _Masks = ((holds @ between * holds).sum(axis=-1) / 2).astype(np.int64)
    return totals


def _holds(masks: _Masks, count: int) -> _Masks:
    """1 where a set holds a place, else 0; one axis more than `masks`, of length `count`."""
    bits: _Masks = masks[..., np.newaxis] >> np.arange(count) & 1
    return bits


def _blanks_may_win(partitions: _Masks, scores: _Masks) -> bool:
    """Whether some order lets the set with blanks, in column 0, win in a partition of highest total.

    It must score at least as much as the others of its partition, and stand in the list before those that tie with it.
    Only the lower sets may stand before it; best they all do, each in one piece. Then just one kind of partition is met
    earlier: with the same lower sets, and a full set that holds all GPUs of the one with blanks.

    Args:
        partitions: those with the highest total, as from `_partition_masks`.
        scores: of their sets.
    """
    highest = scores[:, 0] >= scores.max(axis=1)
    contenders = {
        (int(sets[0]), frozenset(sets[points < points[0]].tolist()))
        for sets, points in zip(partitions[highest], scores[highest], strict=True)
    }
    return any(not _is_met_later(blanks, lower, partitions) for blanks, lower in contenders)


def _is_met_later(blanks: int, lower: frozenset[int], partitions: _Masks) -> bool:
    """Whether partitions with these lower sets and this set with blanks are always met after one of the given ones."""
    same_lower = np.isin(partitions, list(lower)).sum(axis=1) == len(lower)
    holds_all = ((partitions[:, 1:] & blanks) == blanks).any(axis=1)
    return bool((same_lower & holds_all).any())


def _members(scores: Scores, free: int, size: int) -> tuple[int, ...]:
    if free < 0 or free >> len(scores):
        raise PlacementError(f"The free GPUs {free:#b} are not all among the {len(scores)} GPUs of the node.")
    gpus = gpus_of(free)
    if not 1 <= size <= len(gpus):
        raise PlacementError(f"{size} GPUs cannot be picked from {len(gpus)} free ones.")
    return gpus


def _unclear_pair(scores: Scores, highest: Scores | None, gpus: Sequence[int]) -> str | None:
    if highest is None:
        return None
    for first, second in combinations(gpus, 2):
        low, high = scores[first][second], highest[first][second]
        if low != high:
            return (
                f"The links between GPU {first} and GPU {second} are not fully known: "
                f"the vendor's score of the pair is {low} to {high}."
            )
    return None


def _beyond_enumeration(node_size: int, count: int, size: int) -> str | None:
    if node_size > _MOST_GPUS:
        return f"The node's {node_size} GPUs are more than the {_MOST_GPUS} whose sets can be enumerated."
    if size == 1:
        return None
    sets = -(-count // size)
    if sets > _MOST_SETS_IN_A_PARTITION:
        return f"With {sets} sets of {size} the vendor's library overwrites its best partition."
    full = count // size
    partitions = comb(count, count % size) * factorial(full * size) // (factorial(size) ** full * factorial(full))
    if partitions > _MOST_PARTITIONS:
        return f"{count} free GPUs make {partitions:,} partitions into sets of {size}, more than can be enumerated."
    return None


def _any_set(scores: Scores, gpus: Sequence[int], size: int, reason: str) -> Prediction:
    """The prediction that every set may be picked, and that the plugin may crash if any set has blanks."""
    countable = len(scores) <= _MOST_GPUS and comb(len(gpus), size) <= _MOST_OUTCOMES
    masks = _set_masks(len(gpus), size) if countable else np.empty(0, np.int64)
    return Prediction(
        predictable=False,
        reason=reason,
        scores=tuple(np.unique(_set_scores(scores, gpus, masks)).tolist()),
        outcomes=_gpu_masks(gpus, masks),
        may_crash=len(gpus) % size != 0,
    )
