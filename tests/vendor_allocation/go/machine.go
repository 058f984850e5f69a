package main

import (
	"fmt"

	"github.com/NVIDIA/go-nvlib/pkg/nvlib/device"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// machine is the node that go-gpuallocator sees through NVML.
type machine struct {
	PCIe     [][]string `json:"pcie"`
	NVLinks  [][]int    `json:"nvlinks"`
	NVSwitch bool       `json:"nvswitch"`
}

func (m *machine) Init() nvml.Return     { return nvml.SUCCESS }
func (m *machine) Shutdown() nvml.Return { return nvml.SUCCESS }

func (m *machine) GetDevices() ([]device.Device, error) {
	devices := make([]device.Device, len(m.PCIe))
	for index := range devices {
		devices[index] = &gpu{m, index}
	}
	return devices, nil
}

// gpu is one GPU of a machine.
type gpu struct {
	machine *machine
	index   int
}

var levels = map[string]nvml.GpuTopologyLevel{
	"SYS":  nvml.TOPOLOGY_SYSTEM,
	"NODE": nvml.TOPOLOGY_NODE,
	"PHB":  nvml.TOPOLOGY_HOSTBRIDGE,
	"PXB":  nvml.TOPOLOGY_MULTIPLE,
	"PIX":  nvml.TOPOLOGY_SINGLE,
	"PSB":  nvml.TOPOLOGY_INTERNAL,
}

func (g *gpu) GetUUID() (string, nvml.Return) {
	return fmt.Sprintf("GPU-%d", g.index), nvml.SUCCESS
}

func (g *gpu) GetPciInfo() (nvml.PciInfo, nvml.Return) {
	return pciInfo(0x10 + g.index), nvml.SUCCESS
}

func (g *gpu) GetTopologyCommonAncestor(other nvml.Device) (nvml.GpuTopologyLevel, nvml.Return) {
	level, known := levels[g.machine.PCIe[g.index][other.(*gpu).index]]
	if !known {
		return 0, nvml.ERROR_INVALID_ARGUMENT
	}
	return level, nvml.SUCCESS
}

func (g *gpu) GetNvLinkState(link int) (nvml.EnableState, nvml.Return) {
	if link >= len(g.farEnds()) {
		return nvml.FEATURE_DISABLED, nvml.SUCCESS
	}
	return nvml.FEATURE_ENABLED, nvml.SUCCESS
}

func (g *gpu) GetNvLinkRemotePciInfo(link int) (nvml.PciInfo, nvml.Return) {
	return pciInfo(g.farEnds()[link]), nvml.SUCCESS
}

// farEnds lists the PCI bus of the device at the other end of each NVLink: a GPU's, or that of an NVSwitch.
func (g *gpu) farEnds() []int {
	var buses []int
	for peer, links := range g.machine.NVLinks[g.index] {
		if g.machine.NVSwitch {
			if links > len(buses) {
				buses = make([]int, links)
			}
			continue
		}
		for range links {
			buses = append(buses, 0x10+peer)
		}
	}
	return buses
}

func pciInfo(bus int) nvml.PciInfo {
	var info nvml.PciInfo
	copy(info.BusId[:], fmt.Sprintf("00000000:%02X:00.0", bus))
	return info
}
