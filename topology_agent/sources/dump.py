"""A node's topology from a saved `nvidia-smi topo -m` output."""

from pathlib import Path

import structlog

from gpu_topology.errors import DumpError, SettingsError
from gpu_topology.nvidia_smi import parse_topology_matrix
from gpu_topology.topology import NodeTopology

_log = structlog.get_logger(__name__)


def read_topology(path: Path, product: str | None = None) -> NodeTopology:
    """The topology in a file. What the parser warns of is logged.

    Args:
        path: the file.
        product: the model of all GPUs, which the dump does not tell and which decides how fast an NVLink is.

    Raises:
        SettingsError: the file cannot be read, or cannot be understood without guessing.
    """
    try:
        dump = parse_topology_matrix(path.read_text(encoding="utf-8", errors="replace"), products=product)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except DumpError as error:
        raise SettingsError(f"{path}: {error}") from error
    for warning in dump.warnings:
        _log.warning("the dump is odd", file=str(path), warning=warning)
    return dump.topology
