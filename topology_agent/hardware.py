"""Which source a node's hardware is read from."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from gpu_topology.topology import NodeTopology
from topology_agent.fleet import load_fleet
from topology_agent.profiles import load_machine
from topology_agent.settings import Settings
from topology_agent.simulation import with_uuids
from topology_agent.sources import dump, nvml
from topology_agent.sources.nvml import Reading

HardwareReader: TypeAlias = Callable[[], Reading]
"""Reads the hardware of a node once; raises `SourceError`."""


def hardware_reader(settings: Settings) -> HardwareReader:
    """The reader that the settings ask for. Dumps and profiles, which do not change, are read here.

    Raises:
        SettingsError: there is no such dump or profile, or a dump cannot be understood.
        TopologyError: a machine profile is wrong.
    """
    if settings.dump is not None:
        return _constant(dump.read_topology(settings.dump, settings.product))
    if settings.machine is not None:
        return _constant(load_machine(settings.machine))
    return partial(nvml.read_node, settings.sysfs_root)


def simulated_nodes(settings: Settings) -> dict[str, NodeTopology]:
    """The nodes that this process plays, by name, every GPU with a UUID.

    Raises:
        SettingsError: the file of nodes, a machine's name or a dump cannot be used.
        SourceError: NVML does not answer.
        TopologyError: a machine profile is wrong.
    """
    if settings.simulate is not None:
        return load_fleet(settings.simulate)
    name = str(settings.node_name)
    return {name: with_uuids(hardware_reader(settings)().topology, name)}


def _constant(topology: NodeTopology) -> HardwareReader:
    reading = Reading(topology)
    return lambda: reading
