"""The canonical JSON of a machine: the topology annotation, of which what few callers know may be left out."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import orjson

from gpu_topology.annotation import VERSION
from gpu_topology.contract import MAX_GPUS, decode_topology
from gpu_topology.errors import ContractError, TopologyError
from gpu_topology.topology import Gpu, NodeTopology

_IF_ABSENT: Final[Mapping[str, Any]] = {
    "version": VERSION,
    "nvswitch": None,
    "nvlinks_complete": True,
    "nics": [],
    "clique": None,
}
_UNKNOWN_DEVICE: Final[Mapping[str, None]] = {field.name: None for field in fields(Gpu)}


def topology_of(document: object) -> NodeTopology:
    """The machine that a JSON document describes.

    It must have `gpus`, `pcie` and `nvlinks`. Without `nvswitch` and `devices` these are unknown, without `nics` none
    is known, and without `nvlinks_complete` the NVLinks are all there are. A device may leave out any of its fields.

    Args:
        document: as read from JSON.

    Raises:
        TopologyError: it is not a machine; the message names the field.
    """
    if not isinstance(document, dict):
        raise TopologyError("a topology must be a JSON object")
    complete = {**_IF_ABSENT, **document, "devices": _devices(document)}
    try:
        return decode_topology(orjson.dumps(complete).decode())
    except ContractError as error:
        raise TopologyError(f"topology: {str(error).removeprefix(f'{error.annotation}: ')}") from error


def _devices(document: Mapping[str, Any]) -> object:
    devices = document.get("devices")
    if devices is None:
        count = document.get("gpus")
        return [_UNKNOWN_DEVICE] * (min(count, MAX_GPUS) if isinstance(count, int) else 0)
    if not isinstance(devices, list):
        return devices
    return [{**_UNKNOWN_DEVICE, **device} if isinstance(device, dict) else device for device in devices]
