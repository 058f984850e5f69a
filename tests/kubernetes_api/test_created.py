"""What we create is within the API server's limits, and what it takes is shown on a real one."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernetes_api import ApiError, Cluster, NodeEvent, NotFoundError, PodReference
from kubernetes_api.created import MOST_NOTE_BYTES, new_event
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import node

LEASES = "coordination.k8s.io/v1"
NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


@given(st.text(max_size=3000))
def test_a_note_is_whole_or_cut_to_what_the_api_server_takes(note: str) -> None:
    sent = new_event("n", NodeEvent("GpuLost", "TakenOut", note, is_warning=True), NOON)["note"]
    assert len(sent.encode()) <= MOST_NOTE_BYTES
    assert sent == note or (sent.endswith(" ...") and note.startswith(sent.removesuffix(" ...")))


def test_the_time_of_an_event_has_microseconds() -> None:
    event = new_event("n", NodeEvent("GpuLost", "TakenOut", "note", is_warning=True), NOON)
    assert event["eventTime"] == "2026-01-02T12:00:00.000000Z"


@pytest.mark.parametrize("kind", ["Warning", "Normal"])
async def test_an_event_is_taken_by_the_api_server(
    kind: str, control_plane: ControlPlane, kubernetes_client: Client
) -> None:
    name = f"events-{kind.lower()}.example"
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        await cluster.create_event(name, NodeEvent("GpuLost", "TakenOut", "x" * 2000, is_warning=kind == "Warning"))
    events = kubernetes_client.list("Event", "default", api_version="events.k8s.io/v1")
    [event] = [event for event in events if event["regarding"]["name"] == name]
    assert (event["type"], event["reason"], len(event["note"])) == (kind, "GpuLost", MOST_NOTE_BYTES)


async def test_a_lease_is_made_then_renewed_and_belongs_to_its_node(
    control_plane: ControlPlane, kubernetes_client: Client
) -> None:
    owner = kubernetes_client.create(node("leased"))
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        await cluster.renew_lease("default", "leased", 180)
        first = kubernetes_client.get("Lease", "leased", api_version=LEASES)
        await cluster.renew_lease("default", "leased", 180)
    second = kubernetes_client.get("Lease", "leased", api_version=LEASES)
    assert second["spec"]["renewTime"] > first["spec"]["renewTime"]
    assert second["spec"]["holderIdentity"] == "leased"
    assert second["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]


@pytest.mark.usefixtures("kubernetes_client")
async def test_there_is_no_lease_without_a_node_and_none_without_a_namespace(control_plane: ControlPlane) -> None:
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        with pytest.raises(NotFoundError, match="ghost"):
            await cluster.renew_lease("default", "ghost", 180)
    async with await Cluster.connect(control_plane.kubeconfig("nobody")) as cluster:
        with pytest.raises(ApiError, match="forbidden"):
            await cluster.renew_lease("default", "ghost", 180)


async def test_labels_are_set_and_removed_with_the_annotations(
    control_plane: ControlPlane, kubernetes_client: Client
) -> None:
    kubernetes_client.create(node("labelled", labels={"theirs": "1", "old": "1"}))
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        await cluster.patch_node("labelled", annotations={"a": "1"}, labels={"ours": "2", "old": None})
        metadata = (await cluster.get_node("labelled"))["metadata"]
    assert metadata["labels"] == {"kubernetes.io/hostname": "labelled", "theirs": "1", "ours": "2"}
    assert metadata["annotations"] == {"a": "1"}


@pytest.mark.usefixtures("kubernetes_client")
async def test_an_event_about_a_pod_is_in_the_pods_namespace(control_plane: ControlPlane) -> None:
    """The API server takes it nowhere else."""
    pod = PodReference("kube-system", "trainer", "a-uid")
    async with await Cluster.connect(control_plane.kubeconfig()) as cluster:
        await cluster.create_event(pod, NodeEvent("GpuLost", "Evicted", "note", is_warning=True))
    events = control_plane.client.list("Event", "kube-system", api_version="events.k8s.io/v1")
    [about] = [event["regarding"] for event in events if event["regarding"]["name"] == "trainer"]
    assert about == {"apiVersion": "v1", "kind": "Pod", "namespace": "kube-system", "name": "trainer", "uid": "a-uid"}
