"""A GPU dies under a pod, and a node is rebooted: what becomes of the pods and the books on a real control plane."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION, Allocation, decode_state, encode_state
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, node, pod
from tests.control_plane.observer import Observer
from tests.control_plane.parts import agents, extender
from tests.control_plane.stack import SCHEDULER_CONFIG, Stack
from tests.end_to_end.test_best_node import fleet
from tests.end_to_end.test_failover import LEASE
from tests.end_to_end.test_restart import get, until
from tests.extender.test_eviction_api import POLICY, set_budget

LEASES = "coordination.k8s.io/v1"
OWNER = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "trainer",
    "uid": "c0ffee00-0000-4000-8000-000000000000",
}
EVICTING = ["--evict-on-gpu-loss", "--gpu-loss-seconds", "2"]


@pytest.fixture
def client(kubernetes_client: Client) -> Iterator[Client]:
    """The admin's client of a cluster with the namespaces of scheduler and agents."""
    namespaces = ("gpu-scheduler", "gpu-topology-agent")
    kubernetes_client.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in namespaces])
    yield kubernetes_client
    for kind, version in (("Lease", LEASES), ("PodDisruptionBudget", POLICY)):
        kubernetes_client.delete_all(kind, api_version=version)


def replica(number: int) -> dict[str, Any]:
    """A pod as a controller makes it, which needs a whole machine."""
    made = pod(
        f"trainer-{number}",
        gpus=8,
        scheduler_name="gpu-scheduler",
        labels={"app": "trainer"},
        annotations={"gpu-scheduler/on-gpu-loss": "evict"},
    )
    made["metadata"]["ownerReferences"] = [OWNER | {"controller": True}]
    return made


def lose_a_gpu(client: Client, name: str) -> None:
    """Report GPU 3 of a node as lost, and keep the lease, in the place of the node's agent."""
    state = decode_state(client.get("Node", name)["metadata"]["annotations"][STATE_ANNOTATION])
    lost = replace(state, sequence=state.sequence + 1, unhealthy={3: "XID 79: the GPU has fallen off the bus"})
    client.patch("Node", name, {"metadata": {"annotations": {STATE_ANNOTATION: encode_state(lost)}}})
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease = {"apiVersion": LEASES, "kind": "Lease", "metadata": {"name": name, "namespace": "gpu-topology-agent"}}
    client.create(lease | {"spec": {"holderIdentity": name, "leaseDurationSeconds": 180, "renewTime": now}})


def wait_for_event(client: Client, action: str) -> str:
    """What an event about a pod says, once it is there."""
    with closing(client.watch("Event", "default", api_version="events.k8s.io/v1", seconds=30)) as changes:
        for _, event in changes:
            if event["regarding"]["kind"] == "Pod" and event["action"] == action:
                return str(event["note"])
    raise TimeoutError(f"there is no event of a pod with the action {action}")


def test_a_pod_whose_gpu_dies_leaves_when_its_budget_allows_and_its_replacement_lands_on_a_healthy_machine(
    control_plane: ControlPlane, client: Client, tmp_path: Path
) -> None:
    for name in ("sick", "sound"):
        tmp_path.joinpath(name).mkdir()
        client.create(node(name, gpus=8, cpu="128", memory="1024Gi"))
    sick = fleet(tmp_path / "sick", [{"name": "sick", "machine": "hgx-h100"}])
    sound = fleet(tmp_path / "sound", [{"name": "sound", "machine": "dgx-1v"}])
    served = extender(control_plane, arguments=EVICTING)
    configuration = yaml.safe_load(SCHEDULER_CONFIG.read_text())
    configuration["extenders"][0]["urlPrefix"] = served.url
    configuration["leaderElection"] |= LEASE
    with ExitStack() as running:
        agent = running.enter_context(agents(control_plane, sick, Allocation.BEST, name="agent-sick"))
        running.enter_context(agents(control_plane, sound, Allocation.BEST, name="agent-sound"))
        running.enter_context(served.process)
        admin = control_plane.kubeconfig()
        running.enter_context(control_plane.start_scheduler(configuration, kubeconfig=admin, name="gpu-scheduler"))
        page = f"{served.url}/v1/nodes/sick"

        client.create(replica(0))
        assert client.wait_for("Pod", "trainer-0", is_bound)["spec"]["nodeName"] == "sick"
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}  # else no budget protects it
        client.patch("Pod", "trainer-0", {"status": ready}, subresource="status")
        until(lambda: "default/trainer-0" in get(page).json()["held"])
        set_budget(client, 0)
        agent.kill()  # from here on the test speaks for the node
        lose_a_gpu(client, "sick")

        refusal = wait_for_event(client, "NotEvicted")
        assert "violate the pod's disruption budget" in refusal
        assert "deletionTimestamp" not in client.get("Pod", "trainer-0")["metadata"]

        set_budget(client, 1)
        client.wait_for("Pod", "trainer-0", lambda found: "deletionTimestamp" in found["metadata"])
        note = wait_for_event(client, "Evicted")
        assert note.startswith("GPU-")
        assert "of this pod was lost (XID 79: the GPU has fallen off the bus)" in note
        assert note.endswith(": evicted so that its controller can replace it")
        assert len(get(page).json()["held"]["default/trainer-0"]) == 8  # until its containers have ended

        client.create(replica(1))
        assert client.wait_for("Pod", "trainer-1", is_bound)["spec"]["nodeName"] == "sound"
        client.delete("Pod", "trainer-0")
        metrics = httpx.get(f"{served.probes_url}/metrics", trust_env=False).text
        assert 'gpu_scheduler_evictions_total{outcome="evicted"} 1.0' in metrics
        assert 'gpu_scheduler_evictions_total{outcome="failed"} 0.0' in metrics
        assert "deletionTimestamp" not in client.get("Pod", "trainer-1")["metadata"]


@pytest.mark.parametrize("annotations", ["left behind", "gone"])
def test_after_a_node_was_rebooted_the_books_say_what_is_so(
    control_plane: ControlPlane, client: Client, tmp_path: Path, annotations: str
) -> None:
    """One pod went with it, one failed, one was started again, and one came while nobody reported."""
    machine = fleet(tmp_path, [{"name": "n", "machine": "dgx-1v"}])
    with Stack(control_plane, machine, allocation=Allocation.BEST, extender_arguments=EVICTING) as stack:
        seen = Observer(client, stack)
        for name, gpus in (("goes", 2), ("fails", 2), ("stays", 1)):
            seen.schedule(name, gpus)
        stack.agent.kill()
        if annotations == "gone":
            removed = dict.fromkeys((TOPOLOGY_ANNOTATION, STATE_ANNOTATION))
            client.patch("Node", "n", {"metadata": {"annotations": removed}})
            until(lambda: get(f"{stack.extender_url}/v1/nodes/n").json()["knowledge"] == "no-topology")
        client.delete("Pod", "goes")
        client.patch("Pod", "fails", {"status": {"phase": "Failed"}}, subresource="status")
        client.create(pod("comes", gpus=3, cpu="8", scheduler_name="gpu-scheduler"))
        client.wait_for("Pod", "comes", is_bound)
        stack.agent.start()
        seen.wait_for_all_holders([client.get("Pod", name) for name in ("stays", "comes")])

        def is_right() -> bool:
            page = get(f"{stack.extender_url}/v1/nodes/n").json()
            held = {gpu for gpus in page["held"].values() for gpu in gpus}
            return set(page["held"]) == {"default/stays", "default/comes"} and (
                page["expected"] == {} and len(held) == 4 and set(page["free"]) == set(range(8)) - held
            )

        until(is_right)
        assert seen.schedule("next", 4).node == "n"
