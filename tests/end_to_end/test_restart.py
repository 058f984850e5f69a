"""What an extender knows after it was killed, and what it says until it knows it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from gpu_topology.assignment import ASSIGNED_ANNOTATION, decode_assignment
from gpu_topology.contract import Allocation
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, node, pod
from tests.control_plane.observer import Observer
from tests.control_plane.parts import agents, extender
from tests.control_plane.processes import ChildProcess
from tests.control_plane.stack import Stack
from tests.end_to_end.test_best_node import fleet

READER = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: {resource}-reader}}
rules: [{{apiGroups: [""], resources: [{resource}], verbs: [list, watch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {resource}-reader}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {resource}-reader}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: half-blind}}]
"""
ASKED = {"Pod": pod("asks", gpus=2), "Nodes": None, "NodeNames": ["n"]}


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False)


def ask(url: str) -> dict[str, Any]:
    """What filter answers about one node."""
    answer: dict[str, Any] = httpx.post(f"{url}/filter", json=ASKED, trust_env=False).raise_for_status().json()
    return answer


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look again and again until something is so."""
    looking = retry(retry=retry_if_result(lambda met: not met), stop=stop_after_delay(seconds), wait=wait_fixed(0.05))
    looking(condition)()


@contextmanager
def paused(process: ChildProcess) -> Iterator[None]:
    """A process that does nothing while the block runs, though its connections stay open."""
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if process.running:
            os.killpg(process.pid, signal.SIGCONT)


@pytest.fixture
def one_node(tmp_path: Path) -> Path:
    return fleet(tmp_path, [{"name": "n", "machine": "dgx-1v"}])


def test_it_is_not_ready_before_both_lists_are_there(control_plane: ControlPlane, kubernetes_client: Client) -> None:
    """It may read nodes at first, and pods only later."""
    kubernetes_client.create(node("n", gpus=8))
    kubernetes_client.apply(READER.format(resource="nodes"))
    served = extender(
        control_plane, name="half-blind-extender", kubeconfig=control_plane.kubeconfig("half-blind"), started="/healthz"
    )
    with served.process:
        until(lambda: get(f"{served.probes_url}/readyz").text.endswith("list of pods"))
        assert get(f"{served.probes_url}/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "still waiting for the API server's list of pods" in ask(served.url)["Error"]
        kubernetes_client.apply(READER.format(resource="pods"))
        until(served.ready, seconds=60)
        assert ask(served.url)["NodeNames"] == ["n"]
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        for resource in ("nodes", "pods"):
            kubernetes_client.delete(kind, f"{resource}-reader", api_version="rbac.authorization.k8s.io/v1")


def test_killed_between_filter_and_bind_it_loses_nothing(
    control_plane: ControlPlane, kubernetes_client: Client, one_node: Path
) -> None:
    """The pod that it passed is bound while it is away; the one that asks next cannot have the same GPUs."""
    with ExitStack() as running:
        kubernetes_client.create(node("n", gpus=8))
        playing = running.enter_context(agents(control_plane, one_node, Allocation.BEST))
        served = extender(control_plane)
        running.enter_context(served.process)
        until(lambda: ask(served.url)["NodeNames"] == ["n"])
        playing.kill()  # nobody will report who has what
        served.process.kill()
        bound = pod("trainer", gpus=7)
        bound["spec"]["nodeName"] = "n"
        kubernetes_client.create(bound)
        served.process.start()
        page = get(f"{served.url}/v1/nodes/n").json()
        assert len(page["expected"]["default/trainer"]) == 7
        assert len(page["free"]) == 1
        assert "1 of 8 GPUs free, 2 asked for" in str(ask(served.url))


def test_killed_between_choice_and_write_it_binds_the_pod_once_and_for_good(
    control_plane: ControlPlane, kubernetes_client: Client, one_node: Path
) -> None:
    """The API server stands still in the moment of the choice, so that the extender dies while it waits for it."""
    stack = Stack(
        control_plane,
        one_node,
        allocation=Allocation.BEST,
        extender_arguments=["--bind"],
        extender_configuration={"bindVerb": "bind", "httpTimeout": "30s"},
    )
    with stack:
        with ExitStack() as frozen:
            frozen.enter_context(paused(stack.extender))
            created = kubernetes_client.create(pod("trainer", gpus=4, scheduler_name="gpu-scheduler"))
            with paused(control_plane.apiserver):
                frozen.close()
                until(lambda: "default/trainer" in get(f"{stack.extender_url}/v1/nodes/n").json()["expected"])
                stack.extender.kill()
        stack.extender.start()
        bound = kubernetes_client.wait_for("Pod", "trainer", is_bound, seconds=60)
        record = decode_assignment(bound["metadata"]["annotations"][ASSIGNED_ANNOTATION])
        assert (record.pod_uid, record.node, record.enforced) == (created["metadata"]["uid"], "n", True)
        assert len(record.containers[0][1]) == 4

        next_one = Observer(kubernetes_client, stack).schedule("next", 4)
        page = get(f"{stack.extender_url}/v1/nodes/n").json()
        assert (page["free"], page["expected"]) == ([], {})
        assert sorted(page["held"]["default/trainer"] + list(next_one.gpus)) == list(range(8))
