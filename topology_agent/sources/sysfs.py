"""What the kernel tells of PCI devices: their NUMA node and CPUs, the network cards, and how near two devices are.

Every function takes the root of sysfs, `/sys` on a real machine. A container sees only its own network interfaces
under its own `/sys/class/net`; the host's are seen through the host's `/sys`.

PCI addresses are written as the kernel writes them: "0000:07:00.0".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Nic

_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_HOST_BRIDGE: Final = re.compile(r"pci[0-9a-f]{4,8}:[0-9a-f]{2}")
_NETWORK_CLASSES: Final = ("infiniband", "net")
"""RDMA first: a card that has both names is known by its RDMA name, as in `nvidia-smi topo -m`."""
_HOST_BRIDGE_AND_ROOT_PORT: Final = 2
_DOWNSTREAM_PORT_AND_DEVICE: Final = 2


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A PCI function and where it sits.

    Attributes:
        path: from the host bridge down to the device itself: ("pci0000:00", "0000:00:01.0", ..., "0000:07:00.0").
        numa_node: None where the kernel does not know it.
        cpu_affinity: the CPUs near the device as the kernel lists them, such as "0-19,40-59"; None where unknown.
    """

    path: tuple[str, ...]
    numa_node: int | None
    cpu_affinity: str | None = None

    @property
    def address(self) -> str:
        """The PCI address, such as "0000:07:00.0"."""
        return self.path[-1]


def find_pci_device(root: Path, address: str) -> PciDevice | None:
    """The PCI device of this address, or None where the kernel does not show it."""
    return _pci_device(root / "bus/pci/devices" / address)


def find_nics(root: Path, gpus: Sequence[PciDevice | None]) -> tuple[Nic, ...]:
    """The network cards that are PCI devices, by PCI address, and the PCIe ancestor that each shares with each GPU.

    One for each physical function, RDMA or Ethernet. Virtual functions are left out: they are where their physical
    function is, and there may be hundreds of them. In a virtual machine they have none, and count as cards.
    """
    return tuple(
        Nic(name, tuple(None if gpu is None else common_ancestor(card, gpu) for gpu in gpus))
        for card, name in sorted(_cards(root).items(), key=lambda item: item[0].address)
    )


def common_ancestor(first: PciDevice, second: PciDevice) -> PcieAncestor | None:
    """What two different PCI devices have in common, from the way down to each; None where the kernel cannot tell.

    A way leads from the host bridge over a root port and, for each switch, its upstream and one of its downstream
    ports to the device. Where the two ways part decides, in the meaning of `nvidia-smi topo -m`:

    - at a switch with both devices directly below it: PIX; with another switch between: PXB;
    - at a root port or a host bridge: PHB;
    - before they begin, at different host bridges: NODE within a NUMA node, SYS across, unknown where a NUMA node is.
    """
    shared = _shared_length(first.path, second.path)
    if shared == 0:
        return _across_host_bridges(first.numa_node, second.numa_node)
    if shared <= _HOST_BRIDGE_AND_ROOT_PORT:
        return PcieAncestor.PHB
    farther = max(len(first.path), len(second.path)) - shared
    return PcieAncestor.PIX if farther <= _DOWNSTREAM_PORT_AND_DEVICE else PcieAncestor.PXB


def _across_host_bridges(first: int | None, second: int | None) -> PcieAncestor | None:
    if first is None or second is None:
        return None
    return PcieAncestor.NODE if first == second else PcieAncestor.SYS


def _shared_length(first: Sequence[str], second: Sequence[str]) -> int:
    """How many elements two sequences begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _cards(root: Path) -> dict[PciDevice, str]:
    cards: dict[PciDevice, str] = {}
    for name, folder in _network_devices(root):
        device = _pci_device(folder)
        if device is not None and not (folder / "physfn").exists():
            cards.setdefault(device, name)
    return cards


def _network_devices(root: Path) -> Iterator[tuple[str, Path]]:
    """Name of every network interface and the folder of the PCI device that it may belong to."""
    for network_class in _NETWORK_CLASSES:
        for interface in sorted((root / "class" / network_class).glob("*")):
            device = (interface / "device").resolve()
            # A virtio interface belongs to a virtio device, whose parent is the PCI device.
            yield interface.name, device if _ADDRESS.fullmatch(device.name) else device.parent


def _pci_device(folder: Path) -> PciDevice | None:
    try:
        parts = folder.resolve(strict=True).parts
    except OSError:
        return None
    start = next((index for index, part in enumerate(parts) if _HOST_BRIDGE.fullmatch(part)), None)
    if start is None or not _ADDRESS.fullmatch(parts[-1]):
        return None
    return PciDevice(parts[start:], _numa_node(folder), _read(folder / "local_cpulist") or None)


def _numa_node(folder: Path) -> int | None:
    text = _read(folder / "numa_node")
    # The kernel writes -1 for a device without a NUMA node.
    return int(text) if text is not None and text.isdecimal() else None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
