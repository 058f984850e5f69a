module github.com/NVIDIA/go-nvlib

go 1.25

require github.com/NVIDIA/go-nvml v0.12.9-0

replace github.com/NVIDIA/go-nvml => ../nvml
