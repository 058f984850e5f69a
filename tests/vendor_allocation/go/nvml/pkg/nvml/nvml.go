// Package nvml has as much of NVML's Go interface as go-gpuallocator needs, with no library behind it.
package nvml

// Return is what NVML's functions answer besides their result.
type Return int32

// The answers that go-gpuallocator tells apart, numbered as in nvml.h.
const (
	SUCCESS                Return = 0
	ERROR_INVALID_ARGUMENT Return = 2
	ERROR_NOT_SUPPORTED    Return = 3
)

// GpuTopologyLevel is the nearest common ancestor of two GPUs in the PCIe tree.
type GpuTopologyLevel uint32

// The levels, numbered as in nvml.h.
const (
	TOPOLOGY_INTERNAL   GpuTopologyLevel = 0
	TOPOLOGY_SINGLE     GpuTopologyLevel = 10
	TOPOLOGY_MULTIPLE   GpuTopologyLevel = 20
	TOPOLOGY_HOSTBRIDGE GpuTopologyLevel = 30
	TOPOLOGY_NODE       GpuTopologyLevel = 40
	TOPOLOGY_SYSTEM     GpuTopologyLevel = 50
)

// EnableState tells whether an NVLink is active.
type EnableState uint32

// The states, numbered as in nvml.h.
const (
	FEATURE_DISABLED EnableState = 0
	FEATURE_ENABLED  EnableState = 1
)

// NVLINK_MAX_LINKS is the number of NVLinks that a GPU may have.
const NVLINK_MAX_LINKS = 18

// PciInfo is where a device sits on the PCI bus.
type PciInfo struct {
	BusId [32]uint8
}

// Device is one GPU.
type Device interface {
	GetUUID() (string, Return)
	GetPciInfo() (PciInfo, Return)
	GetTopologyCommonAncestor(Device) (GpuTopologyLevel, Return)
	GetNvLinkState(link int) (EnableState, Return)
	GetNvLinkRemotePciInfo(link int) (PciInfo, Return)
}

// Interface is the library as a whole.
type Interface interface {
	Init() Return
	Shutdown() Return
}

// New is called by go-gpuallocator only where it is given no library.
func New() Interface {
	panic("there is no NVML here: pass one to go-gpuallocator")
}
