"""A sysfs of our own making in a folder: PCI devices at their place in the tree, and the interfaces on them."""

from pathlib import Path


class SysfsTree:
    """The part of sysfs that tells of PCI devices.

    Attributes:
        root: what stands for `/sys`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, path: str, *, numa_node: int | None = None, cpus: str | None = None) -> Path:
        """Add a PCI device by its way from the host bridge: "pci0000:00/0000:00:01.0/0000:01:00.0"."""
        folder = self.root / "devices" / path
        folder.mkdir(parents=True)
        if numa_node is not None:
            (folder / "numa_node").write_text(f"{numa_node}\n")
        if cpus is not None:
            (folder / "local_cpulist").write_text(f"{cpus}\n")
        self._link(self.root / "bus/pci/devices" / folder.name, folder)
        return folder

    def add_interface(self, network_class: str, name: str, device: Path) -> None:
        """Add an interface of class "net" or "infiniband" to a device."""
        interface = device / network_class / name
        interface.mkdir(parents=True)
        (interface / "device").symlink_to("../..")
        self._link(self.root / "class" / network_class / name, interface)

    @staticmethod
    def _link(link: Path, target: Path) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
