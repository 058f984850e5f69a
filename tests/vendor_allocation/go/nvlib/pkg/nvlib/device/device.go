// Package device has as much of go-nvlib's package of that name as go-gpuallocator needs.
package device

import "github.com/NVIDIA/go-nvml/pkg/nvml"

// Device is one GPU.
type Device interface {
	nvml.Device
}

// Interface lists the GPUs.
type Interface interface {
	GetDevices() ([]Device, error)
}

// New is called by go-gpuallocator only where it is given no list of GPUs.
func New(nvml.Interface) Interface {
	panic("there is no NVML here: pass a list of GPUs to go-gpuallocator")
}
