"""What takes a GPU away, what brings it back, and what people are told of it."""

from dataclasses import replace

import pytest

from gpu_topology.cordon import CORDONED
from kubernetes_api import NodeEvent
from topology_agent.health import MOST_PAIRS, NodeHealth, link_changes
from topology_agent.profiles import load_machine
from topology_agent.simulation import with_uuids
from topology_agent.sources.nvml import Reading
from topology_agent.xids import APPLICATION_XIDS, LOST_GPU_XIDS, XidEvent

TOPOLOGY = with_uuids(load_machine("dgx-1v"), "n")
UUIDS = [str(gpu.uuid) for gpu in TOPOLOGY.gpus]
WHOLE = Reading(TOPOLOGY)
SWITCHED = load_machine("hgx-h100")


class Told(list[NodeEvent]):
    """Every event of a node."""

    def health(self, *readings: Reading) -> NodeHealth:
        health = NodeHealth(self.append)
        for reading in readings:
            health.take(reading)
        return health

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self]


def test_a_healthy_node_is_not_spoken_of() -> None:
    told = Told()
    assert told.health(WHOLE, WHOLE).reasons == {}
    assert told == []


def test_a_gpu_is_lost_once_and_comes_back_once() -> None:
    told = Told()
    lost = Reading(TOPOLOGY, {5: "GPU is lost"})
    health = told.health(WHOLE, lost, lost)
    assert health.reasons == {5: "GPU is lost"}
    health.take(WHOLE)
    assert health.reasons == {}
    assert told.reasons == ["GpuLost", "GpuReturned"]
    assert f"GPU 5 ({UUIDS[5]}): GPU is lost" in told[0].note
    assert (told[0].is_warning, told[1].is_warning) == (True, False)


def test_gpus_that_are_lost_together_make_one_event() -> None:
    told = Told()
    told.health(WHOLE, Reading(TOPOLOGY, {1: "gone"}, faults={4: "memory"}))
    [event] = told
    assert "GPU 1" in event.note
    assert "GPU 4" in event.note


@pytest.mark.parametrize("xid", LOST_GPU_XIDS)
def test_an_xid_error_of_the_table_takes_away_its_gpu_alone(xid: int) -> None:
    told = Told()
    health = told.health(WHOLE)
    health.hit(XidEvent(3, xid))
    assert list(health.reasons) == [3]
    assert health.reasons[3].startswith(f"XID {xid}: ")
    assert told.reasons == ["GpuLost"]


@pytest.mark.parametrize("xid", [*APPLICATION_XIDS, 63, 74, 94, 154, 9999])
def test_any_other_xid_error_takes_away_nothing(xid: int) -> None:
    told = Told()
    health = told.health(WHOLE)
    health.hit(XidEvent(3, xid))
    assert health.reasons == {}
    assert told == []


def test_an_xid_error_of_nobody_knows_which_gpu_takes_away_nothing() -> None:
    health = NodeHealth()
    health.take(WHOLE)
    health.hit(XidEvent(None, 79))
    assert health.reasons == {}


def test_no_xid_error_is_in_both_tables() -> None:
    assert not APPLICATION_XIDS & LOST_GPU_XIDS.keys()


def test_what_an_xid_error_took_away_stays_away_until_the_driver_restarts() -> None:
    """Though every call about the GPU works again."""
    told = Told()
    health = told.health(WHOLE)
    health.hit(XidEvent(3, 119))
    health.take(WHOLE)
    assert list(health.reasons) == [3]
    health.forget_xids()
    health.take(WHOLE)
    assert health.reasons == {}
    assert told.reasons == ["GpuLost", "GpuReturned"]


def test_an_xid_error_before_the_first_reading_counts() -> None:
    told = Told()
    health = told.health()
    health.hit(XidEvent(0, 79))
    health.take(WHOLE)
    assert list(health.reasons) == [0]
    assert told.reasons == ["GpuLost"]


def test_a_cordon_takes_out_gpus_and_gives_them_back_without_an_event() -> None:
    told = Told()
    health = told.health(WHOLE)
    health.cordon(f"0,{UUIDS[3]}")
    assert health.reasons == {0: CORDONED, 3: CORDONED}
    health.cordon("")
    assert health.reasons == {}
    assert told == []


def test_a_cordon_that_was_there_before_the_hardware_was_read_holds() -> None:
    health = NodeHealth()
    health.cordon("7")
    health.take(WHOLE)
    assert health.reasons == {7: CORDONED}


def test_a_gpu_that_is_both_lost_and_cordoned_is_said_to_be_lost() -> None:
    health = NodeHealth()
    health.cordon("7")
    health.take(Reading(TOPOLOGY, {7: "GPU is lost"}))
    assert health.reasons == {7: "GPU is lost"}


def test_a_cordon_that_cannot_be_read_cordons_nothing_and_is_told_once() -> None:
    told = Told()
    health = told.health(WHOLE)
    health.cordon("0,9")
    health.take(WHOLE)
    assert health.reasons == {}
    [event] = told
    assert event.reason == "GpuCordonUnreadable"
    assert "names GPU 9, but the node has 8. No GPU is cordoned" in event.note
    health.cordon("0")
    health.cordon("0,9")
    assert told.reasons == ["GpuCordonUnreadable"] * 2


def with_links(count: int) -> Reading:
    """An HGX H100 whose GPU 3 has so many links up."""
    rows = tuple(
        tuple(min(links, count) if 3 in {i, j} else links for j, links in enumerate(row))
        for i, row in enumerate(SWITCHED.nvlinks)
    )
    return Reading(replace(SWITCHED, nvlinks=rows))


def test_nvlinks_that_go_down_and_come_up_are_told_once_each() -> None:
    told = Told()
    told.health(with_links(18), with_links(17), with_links(17), with_links(18))
    assert told.reasons == ["NvlinkDown", "NvlinkUp"]
    assert "GPU 0 and 3 18 to 17" in told[0].note


def test_an_event_names_some_of_many_pairs() -> None:
    told = Told()
    none = tuple(tuple(0 for _ in row) for row in SWITCHED.nvlinks)
    told.health(Reading(SWITCHED), Reading(replace(SWITCHED, nvlinks=none)))
    assert f"and {28 - MOST_PAIRS} more pairs" in told[0].note


def test_links_that_may_have_been_missed_did_not_go_down() -> None:
    before, now = with_links(18).topology, with_links(17).topology
    assert len(link_changes(before, now)) == 7
    assert link_changes(before, replace(now, nvlinks_complete=False)) == []
    assert link_changes(None, now) == []
    assert link_changes(before, with_uuids(now, "another")) == []
