"""NUMA nodes, network cards and PCIe ancestors, read from a sysfs tree."""

from pathlib import Path

import pytest

from gpu_topology.links import PcieAncestor
from gpu_topology.topology import Nic
from tests.topology_agent.sysfs_tree import SysfsTree
from topology_agent.sources.sysfs import PciDevice, common_ancestor, find_nics, find_pci_device

UNDER_A_SWITCH = "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:{port}.0/{device}"
BEHIND_TWO_SWITCHES = "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:09.0/0000:08:00.0/0000:09:{port}.0/{device}"
GPU = UNDER_A_SWITCH.format(port="00", device="0000:03:00.0")


@pytest.fixture
def tree(tmp_path: Path) -> SysfsTree:
    return SysfsTree(tmp_path)


def device(path: str, numa_node: int | None = 0) -> PciDevice:
    return PciDevice(tuple(path.split("/")), numa_node)


@pytest.mark.parametrize(
    ("other", "numa_node", "expected"),
    [
        (UNDER_A_SWITCH.format(port="04", device="0000:04:00.0"), 0, PcieAncestor.PIX),
        (UNDER_A_SWITCH.format(port="00", device="0000:03:00.1"), 0, PcieAncestor.PIX),
        (BEHIND_TWO_SWITCHES.format(port="00", device="0000:0a:00.0"), 0, PcieAncestor.PXB),
        ("pci0000:00/0000:00:01.0/0000:01:00.1", 0, PcieAncestor.PHB),
        ("pci0000:00/0000:00:03.0/0000:10:00.0", 0, PcieAncestor.PHB),
        ("pci0000:00/0000:00:1f.0", 0, PcieAncestor.PHB),
        ("pci0000:40/0000:40:01.0/0000:41:00.0", 0, PcieAncestor.NODE),
        ("pci0000:80/0000:80:01.0/0000:81:00.0", 1, PcieAncestor.SYS),
        ("pci0000:80/0000:80:01.0/0000:81:00.0", None, None),
    ],
    ids=[
        "one switch",
        "one card",
        "two switches",
        "a root port",
        "a host bridge",
        "a host bridge without a port",
        "a NUMA node",
        "two NUMA nodes",
        "an unknown NUMA node",
    ],
)
def test_where_the_ways_of_two_devices_part_decides_how_near_they_are(
    other: str, numa_node: int | None, expected: PcieAncestor | None
) -> None:
    """Both ways round."""
    assert common_ancestor(device(GPU), device(other, numa_node)) == expected
    assert common_ancestor(device(other, numa_node), device(GPU)) == expected


def test_a_device_is_found_with_its_way_its_numa_node_and_its_cpus(tree: SysfsTree) -> None:
    tree.add(GPU, numa_node=1, cpus="20-39,60-79")
    found = find_pci_device(tree.root, "0000:03:00.0")
    assert found == PciDevice(tuple(GPU.split("/")), 1, "20-39,60-79")
    assert found.address == "0000:03:00.0"


def test_a_host_bridge_need_not_be_at_the_top_of_the_tree(tree: SysfsTree) -> None:
    """On ARM it is below the platform device that the firmware describes."""
    tree.add("platform/NVDA2014:00/pci0008:00/0008:00:00.0/0008:01:00.0")
    found = find_pci_device(tree.root, "0008:01:00.0")
    assert found is not None
    assert found.path == ("pci0008:00", "0008:00:00.0", "0008:01:00.0")


def test_minus_one_is_no_numa_node_and_an_empty_list_no_cpus(tree: SysfsTree) -> None:
    tree.add(GPU, numa_node=-1, cpus="")
    assert find_pci_device(tree.root, "0000:03:00.0") == PciDevice(tuple(GPU.split("/")), None, None)


def test_an_absent_device_is_none(tree: SysfsTree) -> None:
    assert find_pci_device(tree.root, "0000:03:00.0") is None


def test_a_machine_without_a_network_has_no_nics(tree: SysfsTree) -> None:
    assert find_nics(tree.root, [device(GPU)]) == ()


def test_nics_are_listed_by_address_under_their_rdma_name_where_they_have_one(tree: SysfsTree) -> None:
    near = tree.add(UNDER_A_SWITCH.format(port="04", device="0000:04:00.0"), numa_node=0)
    tree.add_interface("infiniband", "mlx5_3", near)
    tree.add_interface("net", "ens4", near)
    far = tree.add("pci0000:80/0000:80:01.0/0000:81:00.0", numa_node=1)
    tree.add_interface("net", "eno1", far)
    assert find_nics(tree.root, [device(GPU), None]) == (
        Nic("mlx5_3", (PcieAncestor.PIX, None)),
        Nic("eno1", (PcieAncestor.SYS, None)),
    )


def test_virtual_functions_are_left_out(tree: SysfsTree) -> None:
    card = tree.add("pci0000:80/0000:80:01.0/0000:81:00.0", numa_node=0)
    tree.add_interface("infiniband", "mlx5_0", card)
    virtual = tree.add("pci0000:80/0000:80:01.0/0000:81:00.2", numa_node=0)
    (virtual / "physfn").symlink_to(card)
    tree.add_interface("infiniband", "mlx5_1", virtual)
    assert [nic.name for nic in find_nics(tree.root, [])] == ["mlx5_0"]


def test_a_virtio_interface_is_where_its_pci_device_is(tree: SysfsTree) -> None:
    card = tree.add("pci0000:00/0000:00:05.0", numa_node=0)
    tree.add_interface("net", "eth0", card / "virtio1")
    assert find_nics(tree.root, [device(GPU)]) == (Nic("eth0", (PcieAncestor.PHB,)),)


def test_interfaces_that_are_no_pci_devices_are_left_out(tree: SysfsTree) -> None:
    """A network interface on USB, and the loopback, which has no device at all."""
    controller = tree.add("pci0000:00/0000:00:14.0", numa_node=0)
    tree.add_interface("net", "enx0", controller / "usb1" / "1-2" / "1-2:1.0")
    (tree.root / "class/net/lo").mkdir()
    assert find_nics(tree.root, [device(GPU)]) == ()
