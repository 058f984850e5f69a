"""What evicting counts on in an API server: a real one keeps to it, and so does the fake."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from extender.evicting import EvictionApi
from kubernetes_api import Cluster, ConflictError, DeferredError, Lease, NotFoundError
from tests.control_plane import objects
from tests.control_plane.client import Client
from tests.extender.fake_eviction_api import FakeEvictionApi

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
BUDGET = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "budget"}}
POLICY, LEASES = "policy/v1", "coordination.k8s.io/v1"


@dataclass
class Server:
    """An API server that has one running pod, `default/trainer`.

    Attributes:
        allow: sets how many pods a disruption budget lets go.
        lease: makes a lease `default/lease` of this holder, renewed at noon, for 15 seconds.
        is_there: whether the pod is there and is not being deleted.
    """

    api: EvictionApi
    uid: str
    allow: Callable[[int], None]
    lease: Callable[[str], None]
    is_there: Callable[[], bool]

    async def evict(self, name: str = "trainer", *, uid: str | None = None) -> None:
        await self.api.evict_pod("default", name, uid=uid or self.uid)


def fake() -> Server:
    api = FakeEvictionApi()
    api.pods["default", "trainer"] = "uid-of-trainer"

    def allow(pods: int) -> None:
        api.allowed = pods

    def lease(holder: str) -> None:
        api.renew("default", "lease", NOON, holder, 15)

    return Server(api, "uid-of-trainer", allow, lease, lambda: ("default", "trainer") in api.pods)


def running(client: Client) -> str:
    """Make the pod, on a node and running: budgets do not concern others. Returns its UID."""
    wanted: dict[str, Any] = objects.pod("trainer", gpus=2, labels={"app": "trainer"})
    wanted["spec"]["nodeName"] = "n"
    client.create(wanted)
    ready = [{"type": "Ready", "status": "True"}]
    patched = client.patch(
        "Pod", "trainer", {"status": {"phase": "Running", "conditions": ready}}, subresource="status"
    )
    return str(patched["metadata"]["uid"])


def set_budget(client: Client, pods: int) -> None:
    """Say in the place of the controller how many pods a budget lets go."""
    client.apply([BUDGET | {"spec": {"maxUnavailable": pods, "selector": {"matchLabels": {"app": "trainer"}}}}])
    status = {"disruptionsAllowed": pods, "currentHealthy": 1, "desiredHealthy": 1 - pods, "expectedPods": 1}
    generation = client.get("PodDisruptionBudget", "budget", api_version=POLICY)["metadata"]["generation"]
    patch = {"status": status | {"observedGeneration": generation}}
    client.patch("PodDisruptionBudget", "budget", patch, api_version=POLICY, subresource="status")


@pytest.fixture(params=["real", "fake"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    if request.param == "fake":
        yield fake()
        return
    client: Client = request.getfixturevalue("kubernetes_client")
    control_plane = request.getfixturevalue("control_plane")
    uid = running(client)

    def lease(holder: str) -> None:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-01-02T12:00:00.000000Z"}
        client.create({"apiVersion": LEASES, "kind": "Lease", "metadata": {"name": "lease"}, "spec": spec})

    def is_there() -> bool:
        pods = client.list("Pod", "default", field_selector="metadata.name=trainer")
        return [pod["metadata"].get("deletionTimestamp") for pod in pods] == [None]

    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        yield Server(cluster, uid, lambda pods: set_budget(client, pods), lease, is_there)
    for kind, version in (("PodDisruptionBudget", POLICY), ("Lease", LEASES)):
        client.delete_all(kind, api_version=version)


async def test_a_pod_without_a_budget_is_evicted(server: Server) -> None:
    await server.evict()
    assert not server.is_there()


async def test_a_budget_forbids_and_allows(server: Server) -> None:
    """As many as it says."""
    server.allow(0)
    with pytest.raises(DeferredError, match="disruption budget"):
        await server.evict()
    assert server.is_there()
    server.allow(1)
    await server.evict()
    assert not server.is_there()


async def test_another_pod_of_the_name_is_left_alone(server: Server) -> None:
    """It was deleted and created anew."""
    with pytest.raises(ConflictError):
        await server.evict(uid="another")
    assert server.is_there()


async def test_a_pod_that_is_not_there_is_said_to_be_so(server: Server) -> None:
    with pytest.raises(NotFoundError):
        await server.evict("absent")


async def test_a_lease_says_who_holds_it_and_until_when(server: Server) -> None:
    """Or that there is none."""
    with pytest.raises(NotFoundError):
        await server.api.get_lease("default", "lease")
    server.lease("somebody")
    lease = await server.api.get_lease("default", "lease")
    assert lease == Lease("somebody", NOON, timedelta(seconds=15))
    assert lease.is_held(NOON + timedelta(seconds=15))
    assert not lease.is_held(NOON + timedelta(seconds=16))
