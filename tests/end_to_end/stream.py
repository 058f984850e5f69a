"""The stream of pods that the tests send through a stack."""

import random
from collections.abc import Iterator

from tests.control_plane.observer import Observer, Scheduled

SIZES = [8, 4, 4, 2, 2, 2, 2, 1, 1, 4, 2, 8, 4, 1, 2, 2, 1, 4, 8, 2, 1, 2, 4, 2, 1, 4, 2, 8, 2, 1, 4, 2, 4, 2, 1, 2]
STAYS = 9
"""How many pods later a pod ends."""


def run_stream(cluster: Observer, seed: int) -> Iterator[Scheduled]:
    """Schedule pods of all sizes one by one; each ends `STAYS` pods later: the cluster is neither full nor empty.

    Where no node has as many GPUs free as the next pod wants, others end before their time: which nodes are full
    depends on kube-scheduler's ties, which are random.
    """
    sizes = random.Random(seed).sample(SIZES, len(SIZES))
    running: list[Scheduled] = []
    for number, size in enumerate(sizes):
        while len(running) == STAYS or cluster.most_free() < size:
            cluster.end(running.pop(0))
        scheduled = cluster.schedule(f"pod-{number}", size)
        running.append(scheduled)
        yield scheduled
