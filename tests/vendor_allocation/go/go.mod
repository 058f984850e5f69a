module vendorallocation

go 1.25

require github.com/NVIDIA/go-gpuallocator v0.6.0

require (
	github.com/NVIDIA/go-nvlib v0.7.3
	github.com/NVIDIA/go-nvml v0.12.9-0
)

// NVML needs a C compiler to build and a GPU to run. The library sees a machine of our own in its place.
replace (
	github.com/NVIDIA/go-nvlib => ./nvlib
	github.com/NVIDIA/go-nvml => ./nvml
)
