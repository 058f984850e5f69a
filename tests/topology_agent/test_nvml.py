"""NVML read through the real nvidia-ml-py, from a fake libnvidia-ml.so.1 that plays machines from data files."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from gpu_topology.links import PcieAncestor, pcie_gbps
from gpu_topology.topology import Gpu
from tests.fake_nvml import library, machine
from tests.fake_nvml.machine import Fabric, Failure, Machine
from tests.fake_nvml.reader import Reader, Result
from tests.topology_agent.sysfs_tree import SysfsTree

GPU_IS_LOST = 15
RESET_REQUIRED = 16
DRIVER_NOT_LOADED = 9
NOT_SUPPORTED = 3
UNKNOWN = 999
STATE = "nvmlDeviceGetNvLinkState"
REMOTE_TYPE = "nvmlDeviceGetNvLinkRemoteDeviceType"
REMOTE_PCI = "nvmlDeviceGetNvLinkRemotePciInfo_v2"
P2P_STATUS = "nvmlDeviceGetP2PStatus"
ECC_ERRORS = "nvmlDeviceGetTotalEccErrors"
RECOVERY_ACTION = "nvmlDeviceGetFieldValues"
REMAPPED_ROWS = "nvmlDeviceGetRemappedRows"
FUNCTIONS = (
    "nvmlInitWithFlags",
    "nvmlShutdown",
    "nvmlDeviceGetCount_v2",
    "nvmlDeviceGetHandleByIndex_v2",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetName",
    "nvmlDeviceGetPciInfo_v3",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlDeviceGetTopologyCommonAncestor",
    P2P_STATUS,
    "nvmlDeviceGetGpuFabricInfoV",
    "nvmlDeviceGetGpuFabricInfo",
    STATE,
    REMOTE_TYPE,
    REMOTE_PCI,
    ECC_ERRORS,
    REMAPPED_ROWS,
    RECOVERY_ACTION,
)
"""Every function of the library that a reading calls, by the name of its symbol."""


Read: TypeAlias = Callable[[Machine], Result]


@pytest.fixture(scope="module")
def reader(fake_library: Path) -> Iterator[Reader]:
    """One process for all readings, which also shows that none disturbs the next."""
    reader = Reader(fake_library)
    yield reader
    reader.close()


@pytest.fixture
def sysfs(tmp_path: Path) -> SysfsTree:
    """The machine's sysfs, which tells nothing unless a test adds to it."""
    return SysfsTree(tmp_path / "sys")


@pytest.fixture
def read(reader: Reader, sysfs: SysfsTree, tmp_path: Path) -> Read:
    """Read a machine; any exception but SourceError is a failure."""
    return lambda played: reader.read(sysfs.root, played.write(tmp_path / "machine"))


@pytest.mark.parametrize("name", machine.names())
def test_a_reading_equals_the_data_file(name: str, read: Read) -> None:
    played = machine.load(name)
    parents = {uuid: gpu for gpu, uuids in played.slice_uuids.items() for uuid in uuids}
    assert read(played) == Result(played.topology(), mig_parents=parents)


def test_an_hgx_h100_has_eighteen_links_between_every_pair(read: Read) -> None:
    topology = read(machine.load("hgx-h100")).known
    assert [topology.token(*pair) for pair in topology.pairs()] == ["NV18"] * 28
    assert topology.nvswitch is True


def test_a_dead_link_is_missed_by_every_pair_of_its_gpu(read: Read) -> None:
    topology = read(machine.load("hgx-h100-dead-link")).known
    assert [topology.token(3, other) for other in range(8) if other != 3] == ["NV17"] * 7
    assert topology.token(0, 1) == "NV18"


@pytest.mark.parametrize("code", [GPU_IS_LOST, RESET_REQUIRED])
@pytest.mark.parametrize("name", ["dgx-1v", "hgx-h100"])
def test_a_lost_gpu_takes_away_itself_and_no_other(name: str, code: int, read: Read) -> None:
    """Whatever NVML is asked about it fails, beginning with its handle."""
    whole = machine.load(name)
    result = read(whole.failing(Failure("*", code, gpu=5)))
    topology, expected = result.known, whole.topology()
    assert list(result.unhealthy) == [5]
    assert topology.gpus == (*expected.gpus[:5], Gpu(), *expected.gpus[6:])
    for first, second in expected.pairs():
        if 5 in {first, second}:
            assert (topology.nvlinks[first][second], topology.pcie[first][second]) == (0, None)
            assert topology.p2p[first][second] is None
        else:
            assert topology.token(first, second) == expected.token(first, second)
    assert topology.nvlinks_complete


def test_what_a_driver_still_knows_of_a_lost_gpu_is_kept(read: Read) -> None:
    """Its name may come from a cache where its memory has to be asked for."""
    whole = machine.load("dgx-1v")
    lost = [Failure(function, GPU_IS_LOST, gpu=2) for function in ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUUID")]
    result = read(whole.failing(*lost))
    assert result.known.gpus[2] == Gpu(pci_bus_id=whole.bus_ids[2])
    assert result.unhealthy == {2: "NVML says: GPU is lost"}
    assert result.known.nvlinks[2] == (0,) * 8
    assert result.known.pcie[2] == (None,) * 8


def test_a_gpu_lost_while_its_links_are_read_has_none(read: Read) -> None:
    result = read(machine.load("dgx-1v").failing(Failure(STATE, GPU_IS_LOST, gpu=0, second=3)))
    assert list(result.unhealthy) == [0]
    assert result.known.nvlinks[0] == (0,) * 8
    assert result.known.nvlinks_complete


def test_uncorrectable_memory_errors_take_away_the_gpu_and_leave_its_topology(read: Read) -> None:
    played = replace(machine.load("hgx-h100"), uncorrectable_errors={3: 2, 4: 0})
    result = read(played)
    assert result.topology == played.topology()
    assert list(result.faults) == [3]
    assert result.faults[3].startswith("2 uncorrectable ECC memory errors")


def test_a_failed_row_remapping_takes_away_the_gpu(read: Read) -> None:
    played = replace(machine.load("hgx-h100"), failed_remappings={0: True, 1: False})
    result = read(played)
    assert result.topology == played.topology()
    assert list(result.faults) == [0]


def test_memory_errors_that_the_driver_says_were_contained_take_away_nothing(read: Read) -> None:
    """Where it says what is to be done, that decides; else the count of errors does."""
    played = replace(machine.load("hgx-h100"), uncorrectable_errors={0: 1, 1: 1, 2: 1}, recovery_actions={0: 0, 1: 1})
    result = read(played)
    assert result.faults[1] == "the driver says that the GPU must be reset"
    assert list(result.faults) == [1, 2]


@pytest.mark.parametrize("action", [1, 2, 3, 4, 6, 7])
def test_a_gpu_that_has_to_be_recovered_is_taken_away(action: int, read: Read) -> None:
    """Whether or not memory errors are counted; an action that is not known yet takes away nothing."""
    played = replace(machine.load("dgx-1v"), recovery_actions={3: action, 4: 0, 5: 5, 6: 99})
    result = read(played)
    assert list(result.faults) == [3]
    assert result.topology == played.topology()


def test_a_failed_row_remapping_counts_whatever_the_driver_says_is_to_be_done(read: Read) -> None:
    played = replace(machine.load("hgx-h100"), failed_remappings={0: True}, recovery_actions={0: 0})
    assert list(read(played).faults) == [0]


@pytest.mark.parametrize("code", [NOT_SUPPORTED, 13, UNKNOWN])
def test_health_that_a_driver_does_not_tell_takes_away_nothing(code: int, read: Read) -> None:
    whole = replace(machine.load("dgx-1v"), uncorrectable_errors={0: 1}, failed_remappings={1: True})
    result = read(whole.failing(*(Failure(call, code) for call in (ECC_ERRORS, REMAPPED_ROWS, RECOVERY_ACTION))))
    assert result == Result(whole.topology())


def test_a_gpu_that_is_lost_is_not_said_to_be_faulty_too(read: Read) -> None:
    whole = replace(machine.load("dgx-1v"), uncorrectable_errors={0: 1})
    result = read(whole.failing(Failure(REMOTE_PCI, GPU_IS_LOST, gpu=0)))
    assert list(result.unhealthy) == [0]
    assert result.faults == {}


@pytest.mark.parametrize(
    ("function", "attribute"),
    [
        ("nvmlDeviceGetUUID", "uuid"),
        ("nvmlDeviceGetName", "product"),
        ("nvmlDeviceGetMemoryInfo", "memory_mib"),
        ("nvmlDeviceGetMigMode", "mig_enabled"),
    ],
)
@pytest.mark.parametrize("code", [NOT_SUPPORTED, 13, UNKNOWN])
def test_what_a_driver_does_not_tell_is_unknown(function: str, attribute: str, code: int, read: Read) -> None:
    whole = machine.load("bridged-pairs")
    expected = tuple(replace(gpu, **{attribute: None}) for gpu in whole.topology().gpus)
    result = read(whole.failing(Failure(function, code)))
    assert result == Result(replace(whole.topology(), gpus=expected))


def test_a_pcie_ancestor_that_a_driver_does_not_tell_is_unknown(read: Read) -> None:
    topology = read(
        machine.load("pcie-all-levels").failing(
            Failure("nvmlDeviceGetTopologyCommonAncestor", NOT_SUPPORTED, gpu=0, second=1)
        )
    ).known
    assert topology.pcie[0][1] is None
    assert topology.pcie[0][2] is PcieAncestor.PIX


def test_a_name_that_is_no_text_is_unknown(read: Read) -> None:
    topology = read(replace(machine.load("bridged-pairs"), product="NVIDIA \udcff")).known
    assert {gpu.product for gpu in topology.gpus} == {None}


def test_a_link_that_cannot_be_read_is_not_counted_and_said_to_be_missing(read: Read) -> None:
    topology = read(machine.load("bridged-pairs").failing(Failure(STATE, UNKNOWN, gpu=0, second=2))).known
    assert topology.nvlinks[0][1] == 11
    assert not topology.nvlinks_complete


def test_direct_links_need_no_driver_that_tells_the_kind_of_the_far_end(read: Read) -> None:
    """Drivers before 465 do not: the PCI bus id of the far end then tells that it is a GPU."""
    played = machine.load("dgx-1v")
    assert read(played.failing(Failure(REMOTE_TYPE, 13))) == Result(played.topology())


def test_links_of_a_registered_gpu_lead_to_an_nvswitch_where_nothing_else_is_told(read: Read) -> None:
    played = machine.load("hgx-h100")
    untold = played.failing(Failure(REMOTE_TYPE, NOT_SUPPORTED), Failure(REMOTE_PCI, NOT_SUPPORTED))
    assert read(untold) == Result(played.topology())


def test_links_to_who_knows_where_are_not_counted_and_said_to_be_missing(read: Read) -> None:
    """A100 GPUs are not registered with a fabric manager: a driver before 465 leaves their far ends in the dark."""
    topology = read(machine.load("dgx-a100-mig").failing(Failure(REMOTE_TYPE, 13))).known
    assert {count for row in topology.nvlinks for count in row} == {0}
    assert topology.nvswitch is None
    assert not topology.nvlinks_complete


def test_a_link_to_a_gpu_that_cannot_be_identified_is_said_to_be_missing(read: Read) -> None:
    topology = read(machine.load("bridged-pairs").failing(Failure(REMOTE_PCI, UNKNOWN))).known
    assert {count for row in topology.nvlinks for count in row} == {0}
    assert not topology.nvlinks_complete


def test_a_link_to_a_gpu_that_this_node_does_not_show_joins_no_pair(read: Read) -> None:
    """A virtual machine or a container may be given some of the GPUs of a mesh."""
    played = machine.load("bridged-pairs")
    topology = read(replace(played, ports=(("1", "hidden"), ("0", "hidden"), ("hidden",), ("hidden",)))).known
    assert topology.nvlinks == ((0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    assert topology.nvswitch is False
    assert topology.nvlinks_complete


@pytest.mark.parametrize(
    "fabric",
    [
        Fabric(state=2, status=0, cluster="5b" * 16, clique=1),
        Fabric(state=3, status=UNKNOWN, cluster="5b" * 16, clique=1),
        Fabric(state=3, status=0, cluster="00" * 16, clique=1),
        None,
    ],
    ids=["in progress", "failed", "of this machine alone", "not supported"],
)
def test_a_fabric_that_is_not_joined_gives_no_clique(fabric: Fabric | None, read: Read) -> None:
    assert read(replace(machine.load("gb200-tray"), fabrics=(fabric,) * 4)).known.clique is None


def test_gpus_of_different_cliques_give_the_node_none_and_are_not_linked(read: Read) -> None:
    played = machine.load("gb200-tray")
    [one, *_] = played.fabrics
    assert one is not None
    other = replace(one, clique=7)
    topology = read(replace(played, fabrics=(one, one, other, other))).known
    assert topology.clique is None
    assert topology.nvlinks == ((0, 18, 0, 0), (18, 0, 0, 0), (0, 0, 0, 18), (0, 0, 18, 0))


def test_a_lost_gpu_does_not_take_the_node_out_of_its_clique(read: Read) -> None:
    played = machine.load("gb200-tray")
    assert read(played.failing(Failure("*", GPU_IS_LOST, gpu=1))).known.clique == played.clique


def test_an_older_driver_tells_the_clique_by_an_older_function(read: Read) -> None:
    played = machine.load("gb200-tray")
    assert read(played.failing(Failure("nvmlDeviceGetGpuFabricInfoV", 13))) == Result(played.topology())


@pytest.mark.parametrize(
    ("statuses", "access"),
    [
        ("OK/OK/NS", True),
        ("OK/OK/OK", True),
        ("OK/NS/NS", False),
        ("CNS/OK/NS", False),
        ("DR/DR/DR", False),
        ("NS/NS/OK", None),
        ("NS/NS/U", False),
        ("OK/U/NS", None),
        ("U/U/OK", None),
    ],
)
def test_peer_access_is_reading_and_writing_over_whichever_link(
    statuses: str, read: Read, *, access: bool | None
) -> None:
    """A driver that denies both and yet grants it over NVLink contradicts itself."""
    played = machine.load("bridged-pairs")
    matrix = tuple(tuple("X" if i == j else statuses for j in range(4)) for i in range(4))
    assert {read(replace(played, p2p=matrix)).known.p2p[0][other] for other in (1, 2, 3)} == {access}


def test_peer_access_that_a_driver_does_not_tell_is_unknown(read: Read) -> None:
    """And changes nothing of what the pair is worth."""
    played = machine.load("pcie-all-levels")
    topology = read(played.failing(Failure(P2P_STATUS, NOT_SUPPORTED, gpu=0, second=6))).known
    assert topology.p2p[0][6] is None
    assert topology.p2p[0][7] is False
    assert topology.bandwidth_gbps(0, 6) == pcie_gbps(PcieAncestor.SYS) > topology.bandwidth_gbps(0, 7)


def test_numa_nodes_cpus_and_nics_come_from_sysfs(read: Read, sysfs: SysfsTree) -> None:
    played = machine.load("bridged-pairs")
    for gpu, bus_id in enumerate(played.bus_ids):
        bus = bus_id[5:7]
        sysfs.add(
            f"pci0000:{gpu}0/0000:{gpu}0:01.0/0000:{bus}:00.0",
            numa_node=gpu // 2,
            cpus=f"{gpu // 2 * 32}-{gpu // 2 * 32 + 31}",
        )
    nic = sysfs.add("pci0000:00/0000:00:03.0/0000:31:00.0", numa_node=0)
    sysfs.add_interface("infiniband", "mlx5_0", nic)
    topology = read(played).known
    assert [gpu.numa_node for gpu in topology.gpus] == [0, 0, 1, 1]
    assert [gpu.cpu_affinity for gpu in topology.gpus] == ["0-31", "0-31", "32-63", "32-63"]
    [card] = topology.nics
    assert card.name == "mlx5_0"
    assert card.pcie == (PcieAncestor.PHB, PcieAncestor.NODE, PcieAncestor.SYS, PcieAncestor.SYS)


def test_a_missing_library_is_said_in_a_sentence(tmp_path: Path, sysfs: SysfsTree) -> None:
    """A file that is no library stands in front of a real one, if the machine has one."""
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    without_library = Reader(tmp_path)
    result = without_library.read(sysfs.root, tmp_path / "machine")
    without_library.close()
    assert result.source_error is not None
    assert "libnvidia-ml.so.1 was not found" in result.source_error
    assert result.cause == "NVMLError_LibraryNotFound"


def test_a_driver_that_is_not_loaded_is_said_in_a_sentence(read: Read) -> None:
    result = read(machine.load("dgx-1v").failing(Failure("nvmlInitWithFlags", DRIVER_NOT_LOADED)))
    assert result.source_error == "The NVIDIA driver does not start: Driver Not Loaded."
    assert result.cause == "NVMLError_DriverNotLoaded"


def test_a_node_without_a_gpu_is_said_in_a_sentence(read: Read) -> None:
    nothing = replace(machine.load("dgx-1v"), bus_ids=(), ports=(), fabrics=(), mig=())
    assert read(nothing).source_error == "NVML finds no GPU on this node."


def test_gpus_that_cannot_be_counted_are_said_in_a_sentence(read: Read) -> None:
    result = read(machine.load("dgx-1v").failing(Failure("nvmlDeviceGetCount_v2", UNKNOWN)))
    assert result.source_error == "NVML cannot count the GPUs: Unknown Error."


def test_a_driver_that_goes_away_fails_the_reading_and_a_later_one_works(read: Read) -> None:
    """At whichever call it goes away; a reading of these four GPUs makes several hundred."""
    played = machine.load("bridged-pairs")
    for call in range(1, 200):
        assert read(replace(played, fail_from=(call, DRIVER_NOT_LOADED))).source_error
    assert read(played) == Result(played.topology())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_call_may_fail_in_every_way_for_all_gpus_or_one(function: str, read: Read) -> None:
    whole = machine.load("bridged-pairs")
    for code in library.error_codes().values():
        for gpu in (machine.ANY, 1):
            played = whole.failing(Failure(function, code, gpu))
            assert_nothing_is_invented(played, read(played))


@pytest.mark.parametrize("name", machine.names())
def test_calls_that_fail_at_random_never_invent_anything(name: str, read: Read) -> None:
    dice = random.Random(name)  # a repeatable choice of cases, no secret
    whole = machine.load(name)
    for _ in range(60):
        played = at_random(dice, whole)
        assert_nothing_is_invented(played, read(played))


def at_random(dice: random.Random, whole: Machine) -> Machine:
    """This machine with some calls that fail, for any or one GPU, and link or other GPU; some die half-way."""
    codes = list(library.error_codes().values())
    size = len(whole.bus_ids)
    failures = [
        Failure(
            dice.choice(FUNCTIONS[2:]),
            dice.choice(codes),
            dice.choice([machine.ANY, dice.randrange(size)]),
            dice.choice([machine.ANY, dice.randrange(18)]),
        )
        for _ in range(dice.randint(1, 8))
    ]
    fail_from = (dice.randint(1, 1500), dice.choice(codes)) if dice.random() < 0.2 else None
    return replace(whole.failing(*failures), fail_from=fail_from)


def assert_nothing_is_invented(played: Machine, result: Result) -> None:
    """What was read is a part of what the data file says."""
    if result.topology is None:
        assert result.source_error
        return
    read, true = result.topology, played.topology()
    for gpu, true_gpu in zip(read.gpus, true.gpus, strict=True):
        for attribute in ("uuid", "product", "pci_bus_id", "memory_mib", "mig_enabled"):
            assert getattr(gpu, attribute) in {None, getattr(true_gpu, attribute)}
    for first, second in true.pairs():
        assert read.nvlinks[first][second] <= true.nvlinks[first][second]
        assert read.pcie[first][second] in {None, true.pcie[first][second]}
        assert read.p2p[first][second] in {None, true.p2p[first][second]}
    assert read.nvswitch in {None, true.nvswitch}
    assert read.clique in {None, true.clique}


def test_a_gpu_whose_mig_devices_cannot_be_counted_leaves_the_others(read: Read) -> None:
    """What is unknown of one is not unknown of all."""
    whole = machine.load("dgx-a100-mig")
    told = read(whole.failing(Failure("nvmlDeviceGetMaxMigDeviceCount", UNKNOWN, 0)))
    assert set(told.mig_parents.values()) == {1}
    assert len(told.mig_parents) == 7
