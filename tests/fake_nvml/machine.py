"""The machines that the fake NVML plays: what its file says to the library, and what must be read from it.

A machine is a YAML file in `machines/`. `pcie` and `nvlinks` are the matrices that must be read; `ports` says how the
hardware is wired, one row for each GPU and one word for each NVLink: where it leads to ("switch", "cpu", "hidden" for a
GPU that the driver does not show, "?" where the driver cannot tell, or a GPU's index), with "!" before it where the
link is down, and "*3" behind it for three in a row. `p2p`, where the driver tells it, is the matrix that
`nvidia-smi topo -p2p` shows, one word for reading, writing and NVLink, or three with "/" between them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import yaml

from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Gpu, NodeTopology

MACHINES = Path(__file__).parent / "machines"
ANY = -1
LEVELS = {"PSB": 0, "PIX": 10, "PXB": 20, "PHB": 30, "NODE": 40, "SYS": 50}
"""`nvmlGpuTopologyLevel_t`."""
LINK_TYPES = {"gpu": 0x00, "cpu": 0x01, "switch": 0x02, "?": 0xFF}
"""`nvmlIntNvLinkDeviceType_t`."""
P2P_STATUSES = {"OK": 0, "CNS": 1, "GNS": 2, "TNS": 3, "DR": 4, "NS": 5, "U": 6}
"""`nvmlGpuP2PStatus_t`, by the words of `nvidia-smi topo -p2p`."""
FAR_AWAY = {
    "switch": "00000000:C1:00.0",
    "cpu": "00000004:00:00.0",
    "hidden": "00000000:FE:00.0",
    "?": "FFFFFFFF:FF:FF.0",
}
"""The PCI bus ids of what is not a GPU of the machine."""


@dataclass(frozen=True)
class Fabric:
    """What nvmlDeviceGetGpuFabricInfo answers; `cluster` is 32 hexadecimal digits."""

    state: int
    status: int
    cluster: str
    clique: int


@dataclass(frozen=True)
class Failure:
    """A call that answers an error code: for any GPU, or one, or one and a link or another GPU."""

    function: str
    code: int
    gpu: int = ANY
    second: int = ANY


@dataclass(frozen=True)
class Machine:
    """A machine; the attributes are those of its file.

    Attributes:
        mig: for each GPU whether MIG is on, or None where its model has none.
        slices: GPU to the number of MIG devices that it is cut into.
        failures: calls that fail.
        uncorrectable_errors: GPU to its volatile ECC errors; a GPU that is not in it does not count them.
        failed_remappings: GPU to whether the remapping of a row failed; a GPU that is not in it remaps none.
        recovery_actions: GPU to its `nvmlDeviceGpuRecoveryAction_t`; of a GPU that is not in it the driver tells none.
        fail_from: the number of a call, from 1, and the code that it and all later ones answer.
    """

    name: str
    driver: str
    product: str
    memory_mib: int
    capability: tuple[int, int]
    mig: tuple[bool | None, ...]
    bus_ids: tuple[str, ...]
    pcie: tuple[tuple[str, ...], ...]
    ports: tuple[tuple[str, ...], ...]
    nvlinks: tuple[tuple[int, ...], ...]
    nvswitch: bool | None
    fabrics: tuple[Fabric | None, ...]
    clique: str | None
    slices: Mapping[int, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    fail_from: tuple[int, int] | None = None
    uncorrectable_errors: Mapping[int, int] = field(default_factory=dict)
    failed_remappings: Mapping[int, bool] = field(default_factory=dict)
    recovery_actions: Mapping[int, int] = field(default_factory=dict)
    p2p: tuple[tuple[str, ...], ...] = ()

    def failing(self, *failures: Failure) -> "Machine":
        """This machine with these failures besides its own."""
        return replace(self, failures=(*self.failures, *failures))

    @property
    def uuids(self) -> tuple[str, ...]:
        return tuple(f"GPU-{uuid5(NAMESPACE_OID, f'{self.name}/{gpu}')}" for gpu in range(len(self.bus_ids)))

    @property
    def slice_uuids(self) -> dict[int, tuple[str, ...]]:
        """The UUIDs of each GPU's MIG devices."""
        return {
            gpu: tuple(f"MIG-{uuid5(NAMESPACE_OID, f'{self.name}/{gpu}/{index}')}" for index in range(count))
            for gpu, count in self.slices.items()
        }

    def topology(self) -> NodeTopology:
        """What must be read from it where nothing fails and sysfs tells nothing."""
        gpus = (
            Gpu(uuid, self.product, pci_bus_id=bus_id, memory_mib=self.memory_mib, mig_enabled=mig)
            for uuid, bus_id, mig in zip(self.uuids, self.bus_ids, self.mig, strict=True)
        )
        ancestors = (tuple(None if name == "X" else PcieAncestor[name] for name in row) for row in self.pcie)
        access = (tuple({"OK": True, "U": None, "X": None}.get(word, False) for word in row) for row in self.p2p)
        return NodeTopology(
            tuple(gpus),
            tuple(ancestors),
            self.nvlinks,
            nvswitch=self.nvswitch,
            clique=self.clique,
            p2p=tuple(access),
        )

    def write(self, file: Path) -> Path:
        """Write the file that FAKE_NVML_MACHINE is to name; its format stands in machine.h."""
        file.write_text("".join(f"{line}\n" for line in self._lines()), encoding="utf-8", errors="surrogateescape")
        return file

    def _lines(self) -> Iterator[str]:
        yield f"driver {self.driver}"
        for gpu in range(len(self.uuids)):
            yield from self._gpu_lines(gpu)
        for failure in self.failures:
            yield f"fail {failure.function} {failure.code} {failure.gpu} {failure.second}"
        if self.fail_from is not None:
            yield "fail-from {} {}".format(*self.fail_from)

    def _gpu_lines(self, gpu: int) -> Iterator[str]:
        mig, (major, minor) = self.mig[gpu], self.capability
        yield (
            f"gpu {gpu} {self.uuids[gpu]} {_nvml_bus_id(self.bus_ids[gpu])} {self.memory_mib} "
            f"{-1 if mig is None else int(mig)} {major} {minor} {self.product}"
        )
        for index, uuid in enumerate(self.slice_uuids.get(gpu, ())):
            yield f"slice {gpu} {index} {uuid}"
        for second in range(gpu):
            yield f"ancestor {gpu} {second} {LEVELS[self.pcie[gpu][second]]}"
        for second in range(gpu if self.p2p else 0):
            yield f"p2p {gpu} {second} {self._p2p_statuses(gpu, second)}"
        for link, port in enumerate(self.ports[gpu]):
            yield f"link {gpu} {link} {self._far_end(port)}"
        if (fabric := self.fabrics[gpu]) is not None:
            yield f"fabric {gpu} {fabric.state} {fabric.status} {fabric.cluster} {fabric.clique}"
        if gpu in self.uncorrectable_errors:
            yield f"ecc {gpu} {self.uncorrectable_errors[gpu]}"
        if gpu in self.recovery_actions:
            yield f"recovery {gpu} {self.recovery_actions[gpu]}"
        if gpu in self.failed_remappings:
            yield f"remapping {gpu} 0 0 0 {int(self.failed_remappings[gpu])}"

    def _p2p_statuses(self, first: int, second: int) -> str:
        words = self.p2p[first][second].split("/")
        if len(words) == 1:
            words = [*words, *words, "OK" if self.nvlinks[first][second] else "NS"]
        return " ".join(str(P2P_STATUSES[word]) for word in words)

    def _far_end(self, port: str) -> str:
        place = port.removeprefix("!")
        bus_id = _nvml_bus_id(self.bus_ids[int(place)]) if place.isdecimal() else FAR_AWAY[place]
        return f"{int(place == port)} {LINK_TYPES.get(place, LINK_TYPES['gpu'])} {bus_id}"


def load(name: str) -> Machine:
    """The machine of this name."""
    data: dict[str, Any] = yaml.safe_load((MACHINES / f"{name}.yaml").read_text())
    size = len(data["bus_ids"])
    mig = data["mig"]
    fabric = None if data["fabric"] is None else Fabric(**data["fabric"])
    return Machine(
        name=name,
        driver=data["driver"],
        product=data["product"],
        memory_mib=data["memory_mib"],
        capability=tuple(data["capability"]),
        mig=tuple(mig) if isinstance(mig, list) else (mig,) * size,
        bus_ids=tuple(data["bus_ids"]),
        pcie=tuple(tuple(row.split()) for row in data["pcie"]),
        ports=tuple(tuple(_repeated(row)) for row in data["ports"]),
        nvlinks=tuple(tuple(int(count) for count in row.split()) for row in data["nvlinks"]),
        nvswitch=data["nvswitch"],
        fabrics=(fabric,) * size,
        clique=data["clique"],
        slices=data.get("slices", {}),
        p2p=tuple(tuple(row.split()) for row in data.get("p2p", [])),
    )


def names() -> list[str]:
    """The names of all machines."""
    return sorted(file.stem for file in MACHINES.glob("*.yaml"))


def _repeated(row: str) -> Iterator[str]:
    for word in row.split():
        port, _, times = word.partition("*")
        yield from [port] * int(times or 1)


def _nvml_bus_id(address: str) -> str:
    """A PCI address as NVML writes it: with a domain of eight digits."""
    domain, rest = address.split(":", maxsplit=1)
    return f"{int(domain, 16):08X}:{rest.upper()}"
