"""The harness itself: a real control plane that starts, schedules, survives a kill, and leaves nothing behind."""

import os
import select
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.control_plane.client import ApiError, Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, node, pod
from tests.control_plane.processes import ChildProcess, ProcessError

NODE_READERS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: node-reader}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: node-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: node-reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: some-group}]
"""


def test_the_api_server_is_ready_over_verified_tls(control_plane: ControlPlane) -> None:
    assert control_plane.client.ready()


def test_who_does_not_know_the_authority_does_not_trust_the_api_server(control_plane: ControlPlane) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{control_plane.server}/readyz", trust_env=False)


def test_the_api_server_says_which_version_it_is(control_plane: ControlPlane) -> None:
    """A plain `go build` would say v0.0.0-master, which clients take for an ancient server."""
    version = httpx.get(f"{control_plane.server}/version", verify=control_plane.trust, trust_env=False).json()
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")
    assert version["major"] == "1"


def test_a_real_scheduler_binds_a_pod_to_the_node_with_gpus(
    control_plane: ControlPlane, kubernetes_client: Client
) -> None:
    kubernetes_client.create(node("without"))
    kubernetes_client.create(node("with", gpus=8))
    kubernetes_client.create(pod("worker", gpus=2))
    with control_plane.start_scheduler():
        assert kubernetes_client.wait_for("Pod", "worker", is_bound)["spec"]["nodeName"] == "with"


def test_a_scheduler_serves_the_profile_of_its_configuration_file(
    control_plane: ControlPlane, kubernetes_client: Client, tmp_path: Path
) -> None:
    configuration = tmp_path / "configuration.yaml"
    configuration.write_text("profiles: [{schedulerName: second}]")
    kubernetes_client.create(node("only", gpus=8))
    kubernetes_client.create(pod("for-the-default", gpus=1))
    kubernetes_client.create(pod("for-the-second", gpus=1, scheduler_name="second"))
    with control_plane.start_scheduler(configuration, name="second"):
        kubernetes_client.wait_for("Pod", "for-the-second", is_bound)
    assert not is_bound(kubernetes_client.get("Pod", "for-the-default"))


def test_a_broken_configuration_shows_the_end_of_the_log(control_plane: ControlPlane) -> None:
    with pytest.raises(ProcessError, match=r"(?s)broken ended with exit status 1 .*noSuchField"):
        control_plane.start_scheduler({"noSuchField": True}, name="broken")


def test_data_survive_when_the_api_server_and_etcd_are_killed(
    control_plane: ControlPlane, kubernetes_client: Client
) -> None:
    kubernetes_client.create(node("kept", gpus=8))
    before = kubernetes_client.get("Node", "kept")
    control_plane.apiserver.kill()
    control_plane.etcd.kill()
    assert not control_plane.client.ready()
    control_plane.etcd.start()
    control_plane.apiserver.start()
    assert kubernetes_client.get("Node", "kept") == before


def test_a_user_may_do_only_what_rbac_grants(control_plane: ControlPlane, kubernetes_client: Client) -> None:
    kubernetes_client.create(node("a"))
    with control_plane.client_of("somebody", ["some-group"]) as somebody:
        with pytest.raises(ApiError, match='User "somebody" cannot list resource "nodes"') as refusal:
            somebody.list("Node")
        assert refusal.value.status == httpx.codes.FORBIDDEN
        kubernetes_client.apply(NODE_READERS)
        for attempt in _until_the_authorizer_has_seen_it():
            with attempt:
                assert [found["metadata"]["name"] for found in somebody.list("Node")] == ["a"]


def test_a_service_account_is_known_by_its_token(control_plane: ControlPlane, kubernetes_client: Client) -> None:
    kubernetes_client.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}])
    kubeconfig = yaml.safe_load(control_plane.service_account_kubeconfig("default", "robot").read_text())
    review = httpx.post(
        f"{kubeconfig['clusters'][0]['cluster']['server']}/apis/authentication.k8s.io/v1/selfsubjectreviews",
        json={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
        headers={"Authorization": f"Bearer {kubeconfig['users'][0]['user']['token']}"},
        verify=control_plane.trust,
        trust_env=False,
    )
    assert review.json()["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"


def test_waiting_for_an_object_ends_with_what_it_was_like(kubernetes_client: Client) -> None:
    kubernetes_client.create(pod("pending"))
    with pytest.raises(TimeoutError, match=r"Pod pending is not as wanted after 1 s; last seen: .*Pending"):
        kubernetes_client.wait_for("Pod", "pending", is_bound, seconds=1)


def test_waiting_for_a_deletion_ends_with_it(kubernetes_client: Client) -> None:
    """A pod that is bound and deleted with grace stays until its kubelet lets go of it: here, until we do."""
    kubernetes_client.create(node("a"))
    bound = pod("going")
    bound["spec"]["nodeName"] = "a"
    kubernetes_client.create(bound)
    kubernetes_client.delete("Pod", "going", grace_seconds=30)
    with pytest.raises(TimeoutError, match="Pod going is still there after 1 s"):
        kubernetes_client.wait_until_deleted("Pod", "going", seconds=1)
    kubernetes_client.delete("Pod", "going")
    kubernetes_client.wait_until_deleted("Pod", "going")
    assert kubernetes_client.list("Pod") == []


def test_nothing_is_left_running_after_the_context_manager(
    control_plane_programs: None,  # noqa: ARG001 - for its skip
    tmp_path: Path,
) -> None:
    with ControlPlane(tmp_path / "control-plane") as control_plane:
        processes = [control_plane.etcd, control_plane.apiserver, control_plane.start_scheduler()]
        assert all(_exists(process.pid) for process in processes)
    assert not any(_exists(process.pid) for process in processes)


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL gives the parent no chance to tidy up: the kernel has to."""
    parent_code = f"""
from pathlib import Path
from tests.control_plane.processes import ChildProcess
child = ChildProcess("sleeper", ["/bin/sleep", "600"], log=Path({str(tmp_path / "log")!r}), ready=lambda: True)
print(child.start().pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent_code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watched = os.pidfd_open(child)
        assert not _ends_within(watched, seconds=0)
        parent.kill()
    assert _ends_within(watched, seconds=10)
    os.close(watched)


def test_a_silent_program_is_ended_with_the_reason(tmp_path: Path) -> None:
    silent = ChildProcess("sleeper", ["/bin/sleep", "600"], log=tmp_path / "log", ready=lambda: False, ready_within=0.1)
    with pytest.raises(ProcessError, match=r"sleeper is not ready after 0\.1 s"):
        silent.start()
    assert not silent.running


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _ends_within(process: int, seconds: float) -> bool:
    """Whether the process behind a pidfd, which becomes readable with its end, ends soon enough."""
    readable, _, _ = select.select([process], [], [], seconds)
    return bool(readable)


def _until_the_authorizer_has_seen_it() -> Retrying:
    """RBAC is evaluated on a cache that follows the roles and bindings a moment behind."""
    return Retrying(
        retry=retry_if_exception_type(ApiError), stop=stop_after_delay(10), wait=wait_fixed(0.05), reraise=True
    )
