"""The machine that programs on a node see through NVML, in place of the one that they run on."""

from dataclasses import dataclass
from pathlib import Path

from gpu_topology.errors import TopologyError
from gpu_topology.topology import NodeTopology
from tests.fake_nvml.machine import Machine

FATAL_XID = 79
"""The GPU has fallen off the bus: NVIDIA's device plugin takes it for unhealthy."""


@dataclass(frozen=True)
class FakeDriver:
    """A driver that shows the GPUs of a machine to every program that is given its environment.

    Attributes:
        machine: what it shows.
        environment: what a program that asks NVML is to be started with.
    """

    machine: Machine
    environment: dict[str, str]

    @classmethod
    def of(cls, machine: Machine, library: Path, folder: Path) -> "FakeDriver":
        """A driver whose files are in a folder.

        Args:
            machine: what it shows.
            library: the fake NVML, as `tests.fake_nvml.library.build` returns it.
            folder: an existing one.
        """
        xids = folder / "xids"
        xids.touch()
        environment = {
            "LD_LIBRARY_PATH": str(library.parent),
            "FAKE_NVML_MACHINE": str(machine.write(folder / "machine")),
            "FAKE_NVML_XIDS": str(xids),
        }
        return cls(machine, environment)

    def report_xid(self, gpu: int, xid: int = FATAL_XID) -> None:
        """Let a GPU report an error to those who wait for events."""
        with Path(self.environment["FAKE_NVML_XIDS"]).open("a") as xids:
            xids.write(f"{gpu} {xid}\n")


def machine_of(topology: NodeTopology, name: str) -> Machine:
    """A machine with the links of a topology, whose NVLinks lead from GPU to GPU and whose PCIe tree is known.

    Raises:
        TopologyError: the topology has an NVSwitch, or does not know a pair's PCIe ancestor.
    """
    gpus = range(len(topology))
    if topology.nvswitch:
        raise TopologyError("The NVLinks of this machine lead to an NVSwitch.")
    ancestors = topology.pcie
    if any(ancestors[first][second] is None for first, second in topology.pairs()):
        raise TopologyError("This machine's PCIe tree is not fully known.")
    return Machine(
        name=name,
        driver="550.90.07",
        product=str(topology.gpus[0].product),
        memory_mib=topology.gpus[0].memory_mib or 0,
        capability=(8, 0),
        mig=(None,) * len(topology),
        bus_ids=tuple(f"0000:{gpu + 1:02x}:00.0" for gpu in gpus),
        pcie=tuple(tuple("X" if cell is None else cell.name for cell in row) for row in ancestors),
        ports=tuple(tuple(str(peer) for peer in gpus for _ in range(topology.nvlinks[gpu][peer])) for gpu in gpus),
        nvlinks=topology.nvlinks,
        nvswitch=topology.nvswitch,
        fabrics=(None,) * len(topology),
        clique=None,
    )
