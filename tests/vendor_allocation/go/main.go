// Command vendorallocation asks the real go-gpuallocator which GPUs it picks.
//
// It reads JSON, one question a line, and answers each with one line of JSON. {"machine": {...}} sets the node and is
// answered with the links that the library found between each two GPUs. {"free": [...], "size": k} asks for the sets
// that the library picks from the free GPUs: in the order given, in "shuffles" random orders, or in all orders.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/NVIDIA/go-gpuallocator/gpuallocator"
)

type question struct {
	Machine  *machine `json:"machine"`
	Free     []int    `json:"free"`
	Size     int      `json:"size"`
	Required []int    `json:"required"`
	Shuffles int      `json:"shuffles"`
	All      bool     `json:"all"`
}

// answer counts the orders that lead to each set, which stands as a bit mask, and those that crash the plugin.
type answer struct {
	Picked  map[uint64]int `json:"picked"`
	Crashes int            `json:"crashes"`
}

func main() {
	if err := converse(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func converse() error {
	questions := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := json.NewEncoder(os.Stdout)
	var devices gpuallocator.DeviceList
	for questions.More() {
		var asked question
		if err := questions.Decode(&asked); err != nil {
			return err
		}
		var reply any
		if asked.Machine != nil {
			var err error
			if devices, err = discover(asked.Machine); err != nil {
				return err
			}
			reply = linksOf(devices)
		} else {
			reply = allocate(devices, asked)
		}
		if err := answers.Encode(reply); err != nil {
			return err
		}
	}
	return nil
}

func discover(node *machine) (gpuallocator.DeviceList, error) {
	return gpuallocator.NewDevices(gpuallocator.WithNvmlLib(node), gpuallocator.WithDeviceLib(node))
}

// linksOf names the kinds of links that the library found, for each GPU and each of its peers.
func linksOf(devices gpuallocator.DeviceList) [][][]string {
	kinds := make([][][]string, len(devices))
	for first, gpu := range devices {
		kinds[first] = make([][]string, len(devices))
		for second, links := range gpu.Links {
			for _, link := range links {
				kinds[first][second] = append(kinds[first][second], link.Type.String())
			}
		}
	}
	return kinds
}

func allocate(devices gpuallocator.DeviceList, asked question) answer {
	free, required := choose(devices, asked.Free), choose(devices, asked.Required)
	result := answer{Picked: map[uint64]int{}}
	record := func() {
		set := gpuallocator.NewBestEffortPolicy().Allocate(free, required, asked.Size)
		if mask, ok := mask(set); ok {
			result.Picked[mask]++
		} else {
			result.Crashes++
		}
	}
	switch {
	case asked.All:
		permute(free, record)
	case asked.Shuffles > 0:
		random := rand.New(rand.NewPCG(0, 0))
		for range asked.Shuffles {
			random.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
			record()
		}
	default:
		record()
	}
	return result
}

func choose(devices gpuallocator.DeviceList, indices []int) []*gpuallocator.Device {
	chosen := make([]*gpuallocator.Device, len(indices))
	for i, index := range indices {
		chosen[i] = devices[index]
	}
	return chosen
}

// mask reads the set as the device plugin does, which fails where a device is nil.
func mask(set []*gpuallocator.Device) (bits uint64, ok bool) {
	defer func() {
		ok = recover() == nil
	}()
	for _, gpu := range set {
		bits |= 1 << gpu.Index
	}
	return bits, true
}

// permute calls visit with every order of the GPUs (Heap's algorithm).
func permute(gpus []*gpuallocator.Device, visit func()) {
	var arrange func(length int)
	arrange = func(length int) {
		if length <= 1 {
			visit()
			return
		}
		for i := range length {
			arrange(length - 1)
			other := i
			if length%2 == 1 {
				other = 0
			}
			gpus[other], gpus[length-1] = gpus[length-1], gpus[other]
		}
	}
	arrange(len(gpus))
}
