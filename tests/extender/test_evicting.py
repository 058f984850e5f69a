"""From the watch of pods and the books to the eviction, its event and its count."""

from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from extender.evicting import AGENT_NAMESPACE, Evictor
from extender.feeds import trimmed_pod
from extender.gpu_loss import MOST_TRIES, LossBook, Outcome
from extender.leadership import NAME, NAMESPACE, Leadership
from extender.ledger import Ledger
from gpu_topology.errors import WishError
from gpu_topology.request import request_of
from kubernetes_api import NodeEvent, PodReference
from tests.extender.builders import bridged, holder, node, pod
from tests.extender.fake_eviction_api import FakeEvictionApi

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
XID = "XID 79: the GPU has fallen off the bus"
HOST = "gpu-scheduler-7d9c"


class World:
    """Nodes on each of which a pod `<node>-pod` holds all GPUs, beside an extender whose scheduler leads."""

    def __init__(self, nodes: int = 1) -> None:
        self.now = NOON
        self.api = FakeEvictionApi()
        self.told: list[tuple[PodReference, NodeEvent]] = []
        self.ledger = Ledger()
        self.names = [f"n{number}" for number in range(nodes)]
        self.evictor = Evictor(
            self.ledger,
            self.api,
            LossBook(timedelta(seconds=30), 10),
            Leadership(self.api, HOST, clock=self.clock),
            tell=lambda about, event: self.told.append((about, event)),
            clock=self.clock,
        )
        self.lead()
        for name in self.names:
            self.report(name)
            self.run_pod(name)

    def clock(self) -> datetime:
        return self.now

    def lead(self, holder: str = f"{HOST}_a81f") -> None:
        self.api.renew(NAMESPACE, NAME, self.now + timedelta(hours=1), holder, 15)

    def report(self, name: str, *lost: int) -> None:
        """Let the agent of a node report these GPUs as lost."""
        held = [holder(f"{name}-pod", range(4))]
        self.ledger.apply_node(node(name, bridged(4), held=held, unhealthy=dict.fromkeys(lost, XID)))
        self.api.renew(AGENT_NAMESPACE, name, self.now + timedelta(hours=1))

    def run_pod(self, name: str, on_gpu_loss: str = "evict", **metadata: Any) -> None:
        wanted = pod(f"{name}-pod", 4, on=name, phase="Running", on_gpu_loss=on_gpu_loss)
        wanted["metadata"] |= {"ownerReferences": [{"uid": "replica-set", "controller": True}]} | metadata
        self.api.pods["team", f"{name}-pod"] = f"uid-of-{name}-pod"
        self.ledger.apply_pod(wanted)
        self.evictor.changed(trimmed_pod(wanted))

    async def later(self, seconds: float) -> None:
        """Let time pass, and look once a second."""
        for _ in range(int(seconds)):
            await self.evictor.look()
            self.now += timedelta(seconds=1)
        await self.evictor.look()


@pytest.fixture
def world() -> World:
    return World()


async def test_a_pod_whose_gpu_is_lost_is_evicted_once_and_told_so(
    world: World, logged: list[MutableMapping[str, Any]]
) -> None:
    """And not before the loss has lasted; the watch has yet to show that it is being deleted."""
    world.report("n0", 2)
    await world.later(29)
    assert world.api.asked == []
    await world.later(120)
    assert world.api.asked == world.api.evicted == ["uid-of-n0-pod"]
    ((about, event),) = world.told
    assert about == PodReference("team", "n0-pod", "uid-of-n0-pod")
    assert event.note == f"GPU-2 of this pod was lost ({XID}): evicted so that its controller can replace it"
    assert (event.reason, event.action, event.is_warning) == ("GpuLost", "Evicted", True)
    (line,) = [line for line in logged if line["event"] == "lost GPU"]
    assert (line["pod"], line["node"], line["gpus"], line["outcome"]) == (
        "team/n0-pod",
        "n0",
        {"GPU-2": XID},
        "evicted",
    )
    assert world.evictor.counted == {Outcome.EVICTED: 1}


@pytest.mark.parametrize(
    "metadata", [{"on_gpu_loss": "keep"}, {"on_gpu_loss": "evcit"}, {"deletionTimestamp": "2026-01-02T12:00:00Z"}]
)
async def test_who_does_not_ask_for_it_or_leaves_already_is_left_alone(world: World, metadata: dict[str, Any]) -> None:
    """A word that cannot be read asks for nothing."""
    world.run_pod("n0", **metadata)
    world.report("n0", 0)
    await world.later(60)
    assert world.api.asked == []


def test_a_word_that_cannot_be_read_keeps_the_pod_pending() -> None:
    """As for all other annotations."""
    with pytest.raises(WishError, match=r"gpu-scheduler/on-gpu-loss is 'evcit': it must be one of keep, evict"):
        request_of(pod("a", 1, on_gpu_loss="evcit"))


async def test_a_pod_that_nobody_would_replace_is_kept_and_told_so(world: World) -> None:
    world.run_pod("n0", ownerReferences=[])
    world.report("n0", 0)
    await world.later(60)
    assert world.api.asked == []
    ((_, event),) = world.told
    assert event.note.endswith(": not evicted: it has no controller that would replace it")
    assert world.evictor.counted == {Outcome.UNCONTROLLED: 1}


@pytest.mark.parametrize("leader", ["another-host_a81f", ""])
async def test_a_standby_evicts_nobody_until_it_leads(world: World, leader: str) -> None:
    """It has counted the time all along."""
    world.lead(leader)
    world.report("n0", 0)
    await world.later(60)
    assert world.api.asked == []
    world.lead()
    await world.later(5)
    assert world.api.evicted == ["uid-of-n0-pod"]


async def test_a_lease_that_has_run_out_makes_no_leader(world: World) -> None:
    world.api.renew(NAMESPACE, NAME, NOON, f"{HOST}_a81f", 15)
    world.report("n0", 0)
    await world.later(60)
    assert world.api.asked == []


async def test_without_a_lease_nobody_leads_and_the_log_says_so_once(
    world: World, logged: list[MutableMapping[str, Any]]
) -> None:
    """A scheduler without leader election, say."""
    del world.api.leases[NAMESPACE, NAME]
    world.report("n0", 0)
    await world.later(60)
    assert world.api.asked == []
    assert [line["event"] for line in logged] == ["not known whether this scheduler leads"]


@pytest.mark.parametrize("renewed_at", [NOON - timedelta(seconds=300), datetime(2025, 12, 31, tzinfo=UTC), None])
async def test_the_word_of_an_agent_that_may_be_away_counts_for_nothing(
    world: World, renewed_at: datetime | None
) -> None:
    """Its lease has run out, is from before the pod was bound, or is not there."""
    world.report("n0", 0)
    if renewed_at is None:
        del world.api.leases[AGENT_NAMESPACE, "n0"]
    else:
        # Good for ever, so that in the second case only its age speaks against it.
        seconds = 180 if renewed_at.year == NOON.year else 10_000_000
        world.api.renew(AGENT_NAMESPACE, "n0", renewed_at, seconds=seconds)
    await world.later(100)
    assert world.api.asked == []
    world.api.renew(AGENT_NAMESPACE, "n0", world.now)
    await world.later(31)
    assert world.api.evicted == ["uid-of-n0-pod"]


async def test_a_budget_is_asked_again_and_both_the_refusal_and_the_eviction_are_told(world: World) -> None:
    world.api.allowed = 0
    world.report("n0", 0)
    await world.later(130)
    assert world.api.evicted == []
    assert len(world.api.asked) == 4  # after 30, 40, 60 and 100 seconds
    world.api.allowed = 1
    await world.later(80)
    assert world.api.evicted == ["uid-of-n0-pod"]
    refused, evicted = [event for _, event in world.told]
    assert refused.note.endswith("violate the pod's disruption budget.; it is tried again")
    assert evicted.action == "Evicted"
    assert world.evictor.counted == {Outcome.REFUSED: 4, Outcome.EVICTED: 1}


async def test_a_budget_that_never_allows_is_given_up_and_that_is_told(world: World) -> None:
    world.api.allowed = 0
    world.report("n0", 0)
    world.lead()
    for _ in range(MOST_TRIES + 1):
        world.now += timedelta(minutes=6)
        world.lead()
        world.api.renew(AGENT_NAMESPACE, "n0", world.now)
        await world.later(31)
    assert len(world.api.asked) == MOST_TRIES
    assert world.told[-1][1].note.endswith(f"; given up after {MOST_TRIES} tries")
    assert len(world.told) == 2


async def test_where_the_api_server_is_away_it_is_tried_again(world: World) -> None:
    world.report("n0", 0)
    await world.later(29)
    world.api.away = True
    await world.later(30)
    assert world.api.asked == []
    world.api.away = False
    await world.later(31)
    assert world.api.evicted == ["uid-of-n0-pod"]


async def test_a_pod_that_was_replaced_under_its_name_is_gone(world: World) -> None:
    """A StatefulSet gives the new one the old one's name, and its UID keeps it from harm."""
    world.report("n0", 0)
    await world.later(29)
    world.api.pods["team", "n0-pod"] = "another"
    await world.later(60)
    assert world.evictor.counted == {Outcome.GONE: 1}
    assert world.told == []
    assert world.api.evicted == []


async def test_a_storm_evicts_nobody_and_begins_the_time_anew(logged: list[MutableMapping[str, Any]]) -> None:
    """Six of ten nodes: a driver is being upgraded. Afterwards two GPUs are still lost."""
    world = World(10)
    for name in world.names[:6]:
        world.report(name, 0)
    await world.later(100)
    assert world.api.asked == []
    for name in world.names[2:]:
        world.report(name)
    await world.later(29)
    assert world.api.asked == []
    await world.later(2)
    assert world.api.evicted == ["uid-of-n0-pod", "uid-of-n1-pod"]
    events = [line["event"] for line in logged]
    assert events.count("pods hold lost GPUs on so many nodes that nobody is evicted") == 1
    assert events.count("pods that lose a GPU are evicted again") == 1


async def test_all_pods_that_exist_are_taken_up_and_those_that_are_gone_forgotten(world: World) -> None:
    world.evictor.replaced([])
    world.report("n0", 0)
    await world.later(60)
    assert world.api.asked == []
    world.run_pod("n0")
    world.evictor.deleted({"metadata": {"uid": "uid-of-n0-pod"}})
    await world.later(60)
    assert world.api.asked == []
