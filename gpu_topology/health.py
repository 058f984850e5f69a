"""Which of the GPUs that a node's state calls unhealthy are lost: broken, rather than put aside.

A state gives its reasons in words, for people. Two of them are ours to tell apart, because under them a GPU works on
for whoever holds it.
"""

from collections.abc import Mapping
from typing import Final

from gpu_topology.cordon import CORDONED

NOT_OFFERED: Final = "the device plugin offers no whole GPU to the kubelet"
"""The reason that a node's state gives for all of its GPUs while no device plugin is registered: it is being restarted,
say."""

_NOT_LOST: Final = frozenset({CORDONED, NOT_OFFERED})


def lost_among(unhealthy: Mapping[int, str]) -> dict[int, str]:
    """The GPUs of a state's `unhealthy` that are lost, each with the reason."""
    return {gpu: why for gpu, why in unhealthy.items() if why not in _NOT_LOST}
