"""The annotation by which a person takes single GPUs of a node out of use."""

from typing import Final

from gpu_topology.errors import MalformedError
from gpu_topology.topology import NodeTopology

CORDON_ANNOTATION: Final = "gpu-scheduler/cordon"
CORDONED: Final = f"cordoned by {CORDON_ANNOTATION}"
"""The reason that a node's state gives for a GPU that was taken out."""


def parse_cordon(text: str, topology: NodeTopology) -> frozenset[int]:
    """The GPUs that a cordon takes out.

    Args:
        text: indices or UUIDs, separated by commas, such as "0,3"; an empty text takes out none.
        topology: of the node. A UUID that it does not hold is passed over only where it has a GPU without a UUID, which
            is lost and may be the one that is meant.

    Raises:
        MalformedError: it names what is no GPU of the node. No part of it should then be followed: what was meant by
            the rest may be wrong as well.
    """
    if not text.strip():
        return frozenset()
    named = (_gpu(entry.strip(), topology) for entry in text.split(","))
    return frozenset(gpu for gpu in named if gpu is not None)


def _gpu(entry: str, topology: NodeTopology) -> int | None:
    if entry.isascii() and entry.isdecimal():
        return _by_index(entry, topology)
    uuids = [None if gpu.uuid is None else gpu.uuid.lower() for gpu in topology.gpus]
    if entry.lower() in uuids:
        return uuids.index(entry.lower())
    if entry.lower().startswith("gpu-") and None in uuids:
        return None
    raise MalformedError(CORDON_ANNOTATION, f"{entry[:60]!r} is neither the index nor the UUID of a GPU of this node")


def _by_index(entry: str, topology: NodeTopology) -> int:
    # Longer numbers are not converted at all: Python refuses the longest.
    if len(entry) > 4 or int(entry) >= len(topology):  # noqa: PLR2004  no node has more than four digits of GPUs
        raise MalformedError(CORDON_ANNOTATION, f"names GPU {entry[:20]}, but the node has {len(topology)}")
    return int(entry)
