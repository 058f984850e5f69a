"""Simulated nodes follow the pods that the API server has bound to them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from gpu_topology.assignment import ASSIGNED_ANNOTATION, Assignment, encode_assignment
from gpu_topology.contract import STATE_ANNOTATION, Allocation, NodeState, decode_state
from gpu_topology.topology import NodeTopology
from kubernetes_api import Cluster, Resource
from tests.topology_agent.fake_cluster import FakeCluster, node, pod
from topology_agent import agent
from topology_agent.profiles import load_machine
from topology_agent.report import NodeReport
from topology_agent.settings import Settings
from topology_agent.simulation import with_uuids
from topology_agent.simulator import Simulator, binding_order


class Reports(dict[str, NodeReport]):
    """The last report of every node."""

    def simulator(self, *names: str) -> Simulator:
        topologies = {name: load_machine("pcie-4-node-sys") for name in names}
        return Simulator(topologies, self.__setitem__, allocation=Allocation.VENDOR, seed=0)

    def free(self, name: str) -> int:
        return len(self[name].occupancy.free or ())


def test_every_node_reports_at_the_first_list_even_without_pods() -> None:
    reports = Reports()
    reports.simulator("n", "m").replaced([])
    assert (reports.free("n"), reports.free("m")) == (4, 4)


def test_pods_take_gpus_of_their_own_node_only() -> None:
    reports = Reports()
    simulator = reports.simulator("n", "m")
    simulator.replaced([pod("a", 2, "n"), pod("b", 1, "m"), pod("c", 4, "elsewhere")])
    assert (reports.free("n"), reports.free("m")) == (2, 3)


def test_a_pod_that_is_not_bound_yet_takes_nothing() -> None:
    reports = Reports()
    simulator = reports.simulator("n")
    simulator.replaced([])
    unbound = pod("a", 2)
    del unbound["spec"]["nodeName"]
    simulator.changed(unbound)
    assert reports.free("n") == 4


@pytest.mark.parametrize(
    ("allocation", "trusting", "expected"),
    [(Allocation.BEST, True, (1, 3)), (Allocation.BEST, False, (0, 1)), (Allocation.VENDOR, True, None)],
    ids=["enforcing", "not trusting", "vendor"],
)
def test_a_node_that_enforces_and_trusts_records_keeps_to_them(
    allocation: Allocation, *, trusting: bool, expected: tuple[int, ...] | None
) -> None:
    """Any other gives its own choice."""
    topology = with_uuids(load_machine("pcie-4-node-sys"), "n")
    reports = Reports()
    simulator = Simulator({"n": topology}, reports.__setitem__, allocation=allocation, seed=0, trust_records=trusting)
    simulator.replaced([recorded("a", topology, 1, 3)])
    [holder] = reports["n"].occupancy.held
    assert holder.gpus == expected if expected else holder.gpus != (1, 3)


def test_a_record_that_cannot_be_kept_any_more_gives_way_to_the_nodes_choice() -> None:
    """Its GPUs are another pod's by now, or it is about other GPUs."""
    topology = with_uuids(load_machine("pcie-4-node-sys"), "n")
    reports = Reports()
    simulator = Simulator({"n": topology}, reports.__setitem__, allocation=Allocation.BEST, seed=0, trust_records=True)
    foreign = with_uuids(load_machine("pcie-4-node-sys"), "other")
    simulator.replaced([recorded("a", topology, 1, 3), recorded("b", topology, 1), recorded("c", foreign, 1)])
    assert [holder.gpus for holder in reports["n"].occupancy.held] == [(1, 3), (0,), (2,)]


def recorded(name: str, topology: NodeTopology, *gpus: int) -> dict[str, Any]:
    """A bound pod on which GPUs are recorded."""
    bound = pod(name, len(gpus))
    uuids = tuple(str(topology.gpus[gpu].uuid) for gpu in gpus)
    record = Assignment(bound["metadata"]["uid"], "n", (("main", uuids),), None, enforced=True)
    bound["metadata"]["annotations"] = {ASSIGNED_ANNOTATION: encode_assignment(record)}
    return bound


def test_a_pod_gives_its_gpus_back_when_it_ends_and_when_it_is_gone() -> None:
    reports = Reports()
    simulator = reports.simulator("n")
    simulator.replaced([pod("a", 1), pod("b", 1), pod("c", 1)])
    simulator.changed(pod("a", 1, phase="Succeeded"))
    simulator.changed(pod("b", 1, phase="Failed"))
    assert reports.free("n") == 3
    simulator.deleted(pod("c", 1))
    assert reports.free("n") == 4


def test_a_pod_that_ended_before_we_came_holds_nothing() -> None:
    reports = Reports()
    reports.simulator("n").replaced([pod("a", 4, phase="Succeeded"), pod("b", 4)])
    assert [holder.pod for holder in reports["n"].occupancy.held] == ["default/b"]


def test_a_pod_that_went_while_the_watch_was_broken_is_released_by_the_next_list() -> None:
    reports = Reports()
    simulator = reports.simulator("n")
    simulator.replaced([pod("a", 2), pod("b", 1)])
    kept = reports["n"].occupancy.held[1]
    simulator.replaced([pod("b", 1)])
    assert reports["n"].occupancy.held == (kept,)


def test_a_pod_that_does_not_fit_is_logged_and_holds_nothing() -> None:
    reports = Reports()
    simulator = reports.simulator("n")
    simulator.replaced([pod("a", 3)])
    with capture_logs() as logs:
        simulator.changed(pod("b", 2))
    assert logs[0]["pod"] == "default/b"
    assert reports.free("n") == 1


def test_a_pod_whose_wishes_cannot_be_read_still_gets_its_gpus() -> None:
    reports = Reports()
    odd = pod("a", 2)
    odd["metadata"]["annotations"] = {"gpu-scheduler/require": "the moon"}
    reports.simulator("n").replaced([odd])
    assert reports.free("n") == 2


def test_pods_are_served_in_the_order_in_which_they_were_bound() -> None:
    early, late = pod("z", 1, bound_at="2026-01-01T00:00:00Z"), pod("a", 1, bound_at="2026-01-01T00:00:01Z")
    assert sorted([late, early], key=binding_order) == [early, late]


def test_holders_of_other_hardware_are_left_aside() -> None:
    reports = Reports()
    simulator = reports.simulator("n")
    other = Simulator({"n": load_machine("dgx-1v")}, reports.__setitem__, allocation=Allocation.VENDOR, seed=0)
    other.replaced([pod("a", 8)])
    with capture_logs() as logs:
        simulator.restore("n", reports["n"].changes({}))
    assert "other hardware" in logs[0]["event"]
    assert simulator.report("n").occupancy.free == (0, 1, 2, 3)


# The same with everything around it, on an API server in memory.


def settings() -> Settings:
    return Settings(node_name="n", machine="dgx-1v")


def state_of(cluster: FakeCluster, name: str = "n") -> NodeState:
    return decode_state(cluster.annotations(name)[STATE_ANNOTATION])


class Agent:
    """The agent at work on a cluster in memory."""

    def __init__(self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        async def connect(_: object) -> FakeCluster:
            return cluster

        monkeypatch.setattr(Cluster, "connect", connect)
        self._cluster = cluster

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(agent.run(settings()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def until(self, condition: Callable[[NodeState], bool]) -> NodeState:
        def holds() -> bool:
            return STATE_ANNOTATION in self._cluster.annotations("n") and condition(state_of(self._cluster))

        async with asyncio.timeout(10), self._cluster.patched:
            await self._cluster.patched.wait_for(holds)
        return state_of(self._cluster)


async def test_the_agent_publishes_follows_the_pods_and_goes_on_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = FakeCluster(node("n"), pods=[pod("a", 2)])
    async with Agent(cluster, monkeypatch) as running:
        await running.until(lambda state: len(state.held) == 1)
        cluster.put(Resource.PODS, pod("b", 3))
        before = await running.until(lambda state: len(state.held) == 2)
    cluster.delete(Resource.PODS, pod("a", 2))
    async with Agent(cluster, monkeypatch) as running:
        after = await running.until(lambda state: len(state.held) == 1)
    assert after.held == before.held[1:]
    assert after.sequence == before.sequence + 1


async def test_an_agent_that_starts_again_without_a_change_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(node("n"), pods=[pod("a", 2), pod("b", 2)])
    async with Agent(cluster, monkeypatch) as running:
        await running.until(lambda state: len(state.held) == 2)
    written = len(cluster.patches)
    async with Agent(cluster, monkeypatch) as running:
        cluster.put(Resource.PODS, pod("c", 1))
        await running.until(lambda state: len(state.held) == 3)
    assert len(cluster.patches) == written + 1
