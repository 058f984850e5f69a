"""The GPUs of this node as the NVIDIA driver tells of them through NVML: the only file that knows pynvml.

A driver may not support a call, and any call may fail; what it does not answer is None, never a guess. A GPU that no
longer answers stays in its place with what is known of it and is named in `Reading.unhealthy`, one with broken memory
in `Reading.faults`; the others are read as if it had not happened. Only what takes away all GPUs at once raises: no
driver, no GPU, or a driver that goes away.

GPUs are numbered as NVML and `nvidia-smi` number them, by PCI bus id. A PCI bus id is written as the kernel writes it
("0000:07:00.0"), where NVML would write a domain of eight digits.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ctypes import byref, c_void_p, cast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import pynvml

from gpu_topology.errors import SourceError
from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Gpu, NodeTopology
from topology_agent.sources import sysfs
from topology_agent.sources.nvlinks import FarEnd, Ports, all_known, links_of_pairs, through_nvswitch
from topology_agent.xids import XidEvent

_SYSFS_ROOT: Final = Path("/sys")
_BYTES_PER_MIB: Final = 2**20
_WAIT_MILLISECONDS: Final = 1000
"""For an event, before looking whether the agent is to end."""
_ANCESTORS: Final = {
    pynvml.NVML_TOPOLOGY_INTERNAL: PcieAncestor.PSB,
    pynvml.NVML_TOPOLOGY_SINGLE: PcieAncestor.PIX,
    pynvml.NVML_TOPOLOGY_MULTIPLE: PcieAncestor.PXB,
    pynvml.NVML_TOPOLOGY_HOSTBRIDGE: PcieAncestor.PHB,
    pynvml.NVML_TOPOLOGY_NODE: PcieAncestor.NODE,
    pynvml.NVML_TOPOLOGY_SYSTEM: PcieAncestor.SYS,
}
_P2P_READ: Final = 0
"""`NVML_P2P_CAPS_INDEX_READ`, which pynvml has as a tuple."""
_FAR_ENDS: Final = {
    pynvml.NVML_NVLINK_DEVICE_TYPE_SWITCH: FarEnd.SWITCH,
    pynvml.NVML_NVLINK_DEVICE_TYPE_IBMNPU: FarEnd.ELSEWHERE,
}
_NO_P2P: Final = frozenset(
    {
        pynvml.NVML_P2P_STATUS_CHIPSET_NOT_SUPPORTED,
        pynvml.NVML_P2P_STATUS_GPU_NOT_SUPPORTED,
        pynvml.NVML_P2P_STATUS_IOH_TOPOLOGY_NOT_SUPPORTED,
        pynvml.NVML_P2P_STATUS_DISABLED_BY_REGKEY,
        pynvml.NVML_P2P_STATUS_NOT_SUPPORTED,
    }
)
_NO_SUCH_THING: Final = (pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument)
_RECOVERIES: Final = {
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "the driver says that the GPU must be reset",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "the driver says that the node must be rebooted",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_P2P: "the driver says that peer-to-peer traffic must be drained",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "the driver says that the GPU must be drained and reset",
    pynvml.NVML_GPU_RECOVERY_ACTION_BUS_RESET: "the driver says that the GPU's PCIe bus must be reset",
    pynvml.NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT: "the driver says that the node must be rebooted",
}
"""`nvmlDeviceGpuRecoveryAction_t`: those that keep a GPU from being used. An IMEX domain, which joins nodes, is none of
the GPU's own troubles."""
_GPU_GONE: Final = (pynvml.NVMLError_GpuIsLost, pynvml.NVMLError_ResetRequired)
_DRIVER_GONE: Final = (
    pynvml.NVMLError_Uninitialized,
    pynvml.NVMLError_DriverNotLoaded,
    pynvml.NVMLError_LibRmVersionMismatch,
)


_Cell = TypeVar("_Cell")


class DriverLostError(SourceError):
    """There is no driver, or it went away: the GPUs begin anew with the next one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What NVML told at one moment.

    Attributes:
        topology: every GPU that NVML counts, those that do not answer included.
        unhealthy: GPU index to the reason, for a person to read, of every GPU that does not answer.
        faults: the same of every GPU that answers, but must not be used.
        mig_parents: UUID of a MIG device to the GPU that it is a part of.
    """

    topology: NodeTopology
    unhealthy: Mapping[int, str] = field(default_factory=dict)
    faults: Mapping[int, str] = field(default_factory=dict)
    mig_parents: Mapping[str, int] = field(default_factory=dict)


@contextmanager
def session() -> Iterator[None]:
    """Keep NVML initialised; NVML counts its users, so sessions may be nested.

    Raises:
        SourceError: the NVIDIA driver or its library is not there, or does not start.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound as error:
        raise SourceError(
            "NVML's library libnvidia-ml.so.1 was not found: the NVIDIA driver is not installed on this node, or not "
            "visible in this container."
        ) from error
    except pynvml.NVMLError as error:
        raise DriverLostError(f"The NVIDIA driver does not start: {error}.") from error
    try:
        yield
    finally:
        # A driver that went away in the meantime has nothing left to shut down.
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def read_topology(sysfs_root: Path = _SYSFS_ROOT) -> NodeTopology:
    """The GPUs of this node and their links; see `read_node`, which also tells which GPUs do not answer."""
    return read_node(sysfs_root).topology


def read_node(sysfs_root: Path = _SYSFS_ROOT) -> Reading:
    """The GPUs of this node, their links, and which of them do not answer.

    Args:
        sysfs_root: where the host's sysfs is mounted.

    Raises:
        SourceError: there is no NVIDIA driver or no GPU, or the driver goes away while it is read.
    """
    with session():
        devices = [_Device.open(index) for index in range(_gpu_count())]
        topology = _topology(devices, sysfs_root)
        faults = {device.index: fault for device in devices if (fault := _fault(device)) is not None}
        mig_parents = {uuid: device.index for device in devices for uuid in _mig_uuids(device)}
        unhealthy = {device.index: device.gone for device in devices if device.gone is not None}
        faults = {gpu: why for gpu, why in faults.items() if gpu not in unhealthy}
        return Reading(topology, unhealthy, faults, mig_parents)


def watch_xids(tell: Callable[[XidEvent], None], stop: threading.Event) -> None:
    """Tell of every XID error of this node's GPUs, until told to stop: for a thread of its own.

    Ends at once where no GPU reports such errors.

    Raises:
        SourceError: the driver does not answer.
    """
    with session(), _failures_end_the_watch():
        events = pynvml.nvmlEventSetCreate()
        try:
            indices = dict(_registered(events))
            while indices and not stop.is_set():
                event = _next_event(events)
                if event is not None and event.eventType == pynvml.nvmlEventTypeXidCriticalError:
                    tell(XidEvent(indices.get(_identity(event.device)), int(event.eventData)))
        finally:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(events)


class _Fabric(NamedTuple):
    """A partition of an NVSwitch fabric."""

    cluster: UUID
    clique: int

    def __str__(self) -> str:
        return f"{self.cluster}.{self.clique}"


@dataclass(slots=True)
class _Device:
    """One GPU that NVML is asked about.

    Attributes:
        handle: NVML's own, or None where NVML gives none.
        gone: why it does not answer; it is then asked no more.
    """

    index: int
    handle: Any = None
    gone: str | None = None

    @classmethod
    def open(cls, index: int) -> "_Device":
        try:
            return cls(index, handle=pynvml.nvmlDeviceGetHandleByIndex(index))
        except _DRIVER_GONE as error:
            raise _driver_gone(error) from error
        except pynvml.NVMLError as error:
            return cls(index, gone=f"NVML cannot open it: {error}")

    def ask(self, function: Callable[..., Any], *arguments: Any, if_none: Any = None) -> Any:
        """What NVML answers, or None where it does not.

        Args:
            function: of pynvml; takes the handle first.
            arguments: what it takes besides.
            if_none: the answer where NVML says that the GPU has no such thing.

        Raises:
            SourceError: the driver went away.
        """
        if self.gone is not None:
            return None
        try:
            return function(self.handle, *arguments)
        except _NO_SUCH_THING:
            return if_none
        except _GPU_GONE as error:
            self.gone = f"NVML says: {error}"
        except _DRIVER_GONE as error:
            raise _driver_gone(error) from error
        except (pynvml.NVMLError, UnicodeDecodeError):
            pass  # a call that this driver does not support or that failed: unknown
        return None


def _mig_uuids(device: _Device) -> Iterator[str]:
    """The UUIDs of the MIG devices that a GPU is cut into; a place where there is none has no handle."""
    for place in range(device.ask(pynvml.nvmlDeviceGetMaxMigDeviceCount) or 0):
        handle = device.ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, place)
        uuid = None if handle is None else device.ask(lambda _, mig: pynvml.nvmlDeviceGetUUID(mig), handle)
        if uuid is not None:
            yield uuid


def _driver_gone(error: pynvml.NVMLError) -> SourceError:
    return DriverLostError(f"The NVIDIA driver went away while the GPUs were read: {error}.")


def _registered(events: Any) -> Iterator[tuple[int | None, int]]:
    """Identity and index of every GPU whose XID errors the set of events now gets."""
    for device in map(_Device.open, range(_gpu_count())):
        if device.handle is None:
            continue
        try:
            pynvml.nvmlDeviceRegisterEvents(device.handle, pynvml.nvmlEventTypeXidCriticalError, events)
        except _DRIVER_GONE:
            raise
        except pynvml.NVMLError:
            continue  # not every model reports them
        yield _identity(device.handle), device.index


def _next_event(events: Any) -> Any:
    """The next event, or None where there was none for a while."""
    try:
        return pynvml.nvmlEventSetWait(events, _WAIT_MILLISECONDS)
    except pynvml.NVMLError_Timeout:
        return None


def _identity(handle: Any) -> int | None:
    """What NVML knows a GPU by. Unlike its index or UUID it can be had of a GPU that no longer answers."""
    return cast(handle, c_void_p).value


@contextmanager
def _failures_end_the_watch() -> Iterator[None]:
    try:
        yield
    except _DRIVER_GONE as error:
        raise _driver_gone(error) from error
    except pynvml.NVMLError as error:
        raise SourceError(f"NVML cannot watch for XID errors: {error}.") from error


def _fault(device: _Device) -> str | None:
    """What is broken in a GPU that answers, for a person to read; None where nothing is known to be.

    Row remapping is what GPUs from Ampere on have against worn memory. Once it fails, the GPU is to be replaced; while
    it is only pending, the GPU may be used. After an uncorrectable memory error a newer driver says whether the GPU has
    to be reset, or contained the error and may be used on. Of an older one only the count of errors is known, which
    begins at 0 when the driver is loaded or the GPU reset. (docs.nvidia.com/deploy, "GPU Memory Error Management".)
    """
    rows = device.ask(pynvml.nvmlDeviceGetRemappedRows)
    if rows and rows[-1]:
        return "row remapping failed: memory that is broken can no longer be replaced"
    action = _recovery_action(device)
    if action is not None:
        return _RECOVERIES.get(action)
    errors = device.ask(
        pynvml.nvmlDeviceGetTotalEccErrors, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    )
    return (
        f"{errors} uncorrectable ECC memory errors since the driver was loaded or the GPU was reset" if errors else None
    )


def _recovery_action(device: _Device) -> int | None:
    """What the driver wants done before the GPU is used again; None where it does not tell."""
    answers = device.ask(pynvml.nvmlDeviceGetFieldValues, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    if answers is None or answers[0].nvmlReturn != pynvml.NVML_SUCCESS:
        return None
    return int(answers[0].value.uiVal)


def _gpu_count() -> int:
    try:
        count = int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError as error:
        raise SourceError(f"NVML cannot count the GPUs: {error}.") from error
    if count == 0:
        raise SourceError("NVML finds no GPU on this node.")
    return count


def _topology(devices: Sequence[_Device], sysfs_root: Path) -> NodeTopology:
    addresses = [_address(device.ask(pynvml.nvmlDeviceGetPciInfo)) for device in devices]
    indices = {address: index for index, address in enumerate(addresses) if address is not None}
    pci_devices = [None if address is None else sysfs.find_pci_device(sysfs_root, address) for address in addresses]
    gpus = tuple(_gpu(*described) for described in zip(devices, addresses, pci_devices, strict=True))
    fabrics = [_fabric(device) for device in devices]
    ports = [_ports(device, indices, fabric) for device, fabric in zip(devices, fabrics, strict=True)]
    return NodeTopology(
        gpus=gpus,
        pcie=_of_pairs(devices, _pcie_ancestor),
        nvlinks=links_of_pairs(ports),
        nvswitch=through_nvswitch(ports),
        nvlinks_complete=all_known(ports),
        nics=sysfs.find_nics(sysfs_root, pci_devices),
        clique=_clique(devices, fabrics),
        p2p=_of_pairs(devices, _peer_access),
    )


def _gpu(device: _Device, address: str | None, pci_device: sysfs.PciDevice | None) -> Gpu:
    memory = device.ask(pynvml.nvmlDeviceGetMemoryInfo)
    mig_modes = device.ask(pynvml.nvmlDeviceGetMigMode)
    return Gpu(
        uuid=device.ask(pynvml.nvmlDeviceGetUUID),
        product=device.ask(pynvml.nvmlDeviceGetName),
        pci_bus_id=address,
        numa_node=None if pci_device is None else pci_device.numa_node,
        cpu_affinity=None if pci_device is None else pci_device.cpu_affinity,
        memory_mib=None if memory is None else memory.total // _BYTES_PER_MIB,
        mig_enabled=None if mig_modes is None else mig_modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
    )


def _address(pci_info: Any) -> str | None:
    """The PCI address of an nvmlPciInfo_t; a GPU is always function 0 of its device."""
    if pci_info is None:
        return None
    return f"{pci_info.domain:04x}:{pci_info.bus:02x}:{pci_info.device:02x}.0"


def _of_pairs(
    devices: Sequence[_Device], read: Callable[[_Device, _Device], _Cell | None]
) -> tuple[tuple[_Cell | None, ...], ...]:
    """What is read of each pair, as a symmetric matrix; None for a GPU and itself."""
    matrix: list[list[_Cell | None]] = [[None] * len(devices) for _ in devices]
    for second in devices:
        for first in devices[: second.index]:
            matrix[first.index][second.index] = matrix[second.index][first.index] = read(first, second)
    return tuple(tuple(row) for row in matrix)


def _pcie_ancestor(first: _Device, second: _Device) -> PcieAncestor | None:
    return _ANCESTORS.get(_ask_of_pair(pynvml.nvmlDeviceGetTopologyCommonAncestor, first, second))


def _peer_access(first: _Device, second: _Device) -> bool | None:
    """Whether the two can reach one another's memory: both reading and writing, over whichever link.

    A driver that denies it, and yet says that NVLink gives it, contradicts itself.
    """
    known = [_p2p_status(first, second, kind) for kind in (_P2P_READ, pynvml.NVML_P2P_CAPS_INDEX_WRITE)]
    if False in known:
        return None if _p2p_status(first, second, pynvml.NVML_P2P_CAPS_INDEX_NVLINK) else False
    return None if None in known else True


def _p2p_status(first: _Device, second: _Device, kind: int) -> bool | None:
    status = _ask_of_pair(pynvml.nvmlDeviceGetP2PStatus, first, second, kind)
    if status == pynvml.NVML_P2P_STATUS_OK:
        return True
    return False if status in _NO_P2P else None


def _ask_of_pair(function: Callable[..., Any], first: _Device, second: _Device, *arguments: Any) -> Any:
    """What NVML answers of two GPUs, or None where it does not.

    Raises:
        SourceError: the driver went away.
    """
    if first.gone is not None or second.gone is not None:
        return None
    try:
        return function(first.handle, second.handle, *arguments)
    except _DRIVER_GONE as error:
        raise _driver_gone(error) from error
    except pynvml.NVMLError:
        return None  # if a GPU is lost: which of the two is not said here, their own calls tell


def _ports(device: _Device, indices: Mapping[str, int], fabric: _Fabric | None) -> Ports:
    ports = Ports.of(_far_ends(device, indices, registered=fabric is not None), None if fabric is None else str(fabric))
    # A GPU that does not answer reaches no other: no links is then what is known, not what is missing.
    return ports if device.gone is None else Ports()


def _far_ends(device: _Device, indices: Mapping[str, int], *, registered: bool) -> Iterator[int | FarEnd]:
    """What each active link leads to; a GPU of this node is given by its index."""
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        state = device.ask(pynvml.nvmlDeviceGetNvLinkState, link, if_none=pynvml.NVML_FEATURE_DISABLED)
        if state is None:
            yield FarEnd.UNKNOWN
        elif state == pynvml.NVML_FEATURE_ENABLED:
            yield _far_end(device, link, indices, registered=registered)


def _far_end(device: _Device, link: int, indices: Mapping[str, int], *, registered: bool) -> int | FarEnd:
    """What one link leads to.

    Drivers before 465 do not tell what kind of device it is, virtual machines may hide an NVSwitch, and those of
    multi-node systems are in other machines. A GPU that is registered with a fabric manager says that it is behind
    an NVSwitch (nvml.h, nvmlDeviceGetGpuFabricInfo): then so is a link of which nothing else is told.
    """
    kind = device.ask(pynvml.nvmlDeviceGetNvLinkRemoteDeviceType, link)
    if kind in _FAR_ENDS:
        return _FAR_ENDS[kind]
    address = _address(device.ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, link))
    if address is not None and address in indices:
        return indices[address]
    if kind == pynvml.NVML_NVLINK_DEVICE_TYPE_GPU:
        return FarEnd.UNKNOWN if address is None else FarEnd.ELSEWHERE
    return FarEnd.SWITCH if registered else FarEnd.UNKNOWN


def _fabric(device: _Device) -> _Fabric | None:
    """Where in an NVSwitch fabric the GPU is registered; None until it is, and where there is no fabric manager."""
    info = pynvml.c_nvmlGpuFabricInfoV_t()
    if device.ask(pynvml.nvmlDeviceGetGpuFabricInfoV, byref(info)) is None:
        info = pynvml.c_nvmlGpuFabricInfo_t()
        if device.ask(pynvml.nvmlDeviceGetGpuFabricInfo, byref(info)) is None:
            return None
    if info.state != pynvml.NVML_GPU_FABRIC_STATE_COMPLETED or info.status != pynvml.NVML_SUCCESS:
        return None
    return _Fabric(UUID(bytes=bytes(info.clusterUuid)), int(info.cliqueId))


def _clique(devices: Sequence[_Device], fabrics: Sequence[_Fabric | None]) -> str | None:
    """The multi-node clique of the node: that of all GPUs that answer, or None where they differ or one has none.

    A fabric that ends at the machine, such as an HGX board's, has a cluster UUID of zeros.
    """
    answers = {fabric for device, fabric in zip(devices, fabrics, strict=True) if device.gone is None}
    fabric = answers.pop() if len(answers) == 1 else None
    return None if fabric is None or fabric.cluster.int == 0 else str(fabric)
