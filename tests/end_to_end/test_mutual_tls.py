"""The real kube-scheduler and the extender over HTTPS, as the component `mutual-tls` has them: each shows who it is."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import copyfile
from typing import Any

import httpx
import pytest
import yaml
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from tests.control_plane.certificates import CertificateAuthority, KeyPair
from tests.control_plane.client import Client
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.objects import is_bound, node, pod
from tests.control_plane.parts import Extender, extender
from tests.control_plane.ports import LOOPBACK

CONFIG = Path(__file__).parents[2] / "manifests" / "components" / "mutual-tls" / "scheduler-config.yaml"
SERVICE = "gpu-scheduler-extender.gpu-scheduler.svc"


class Secret:
    """The files of a mounted Secret, under the names that cert-manager gives them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.certificate, self.key, self.ca = (folder / name for name in ("tls.crt", "tls.key", "ca.crt"))

    def take(self, pair: KeyPair) -> None:
        """Put another certificate in the place of the one that is there."""
        copyfile(pair.certificate, self.certificate)
        copyfile(pair.key, self.key)


class Secured:
    """An extender and a scheduler that have yet to be started, with a Secret each, filled by one CA.

    Attributes:
        ours: the CA.
        theirs: another one, of the same name.
        of_extender: the extender's files.
        of_scheduler: kube-scheduler's.
        extender: the extender.
    """

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self._control_plane = control_plane
        self.ours, self.theirs = (CertificateAuthority(folder / name) for name in ("ours", "theirs"))
        self.of_extender, self.of_scheduler = (Secret(folder / name) for name in ("extender-tls", "scheduler-tls"))
        self.of_extender.take(self.server(self.ours))
        self.of_scheduler.take(self.client(self.ours))
        for secret in (self.of_extender, self.of_scheduler):
            copyfile(self.ours.certificate, secret.ca)
        files = {
            "certificate": self.of_extender.certificate,
            "key": self.of_extender.key,
            "client-ca": self.of_extender.ca,
        }
        arguments = [f"--tls-{name}={path}" for name, path in files.items()]
        self.extender: Extender = extender(control_plane, name="extender-tls", arguments=arguments)

    def server(self, authority: CertificateAuthority) -> KeyPair:
        """A certificate for the extender, which says the name of its Service."""
        return authority.issue("server", "extender", hosts=[SERVICE])

    def client(self, authority: CertificateAuthority) -> KeyPair:
        """A certificate for kube-scheduler."""
        return authority.issue("client", "kube-scheduler")

    def configuration(self) -> dict[str, Any]:
        """That of the component, with our port and files.

        The Service's name leads nowhere here, so the extender is reached by its address and known by its name.
        """
        configuration: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
        configuration["leaderElection"] = {"leaderElect": False}
        configuration |= {"podInitialBackoffSeconds": 1, "podMaxBackoffSeconds": 1}
        [entry] = configuration["extenders"]
        port = httpx.URL(self.extender.url).port
        entry["urlPrefix"] = f"https://{LOOPBACK}:{port}"
        secret = self.of_scheduler
        paths = {"caFile": secret.ca, "certFile": secret.certificate, "keyFile": secret.key}
        assert entry["tlsConfig"].keys() == paths.keys()
        entry["tlsConfig"] = {name: str(path) for name, path in paths.items()} | {"serverName": SERVICE}
        return configuration

    def wait_until_counted(self, counter: str, label: str) -> None:
        """Wait until a counter of the extender's is no longer 0 for a label."""
        line = re.compile(rf'^{counter}{{\w+="{label}"}} [1-9]', re.MULTILINE)
        trying = Retrying(
            stop=stop_after_delay(30), wait=wait_fixed(0.2), retry=retry_if_result(lambda found: not found)
        )
        trying(lambda: line.search(httpx.get(f"{self.extender.probes_url}/metrics", trust_env=False).text))

    def wait_for_reload(self) -> None:
        """Wait until the extender has taken up what was put in the place of its files."""
        self.wait_until_counted("gpu_scheduler_certificate_reloads_total", "replaced")

    def wait_until_refused(self, reason: str) -> None:
        """Wait until the extender has refused somebody for OpenSSL's reason."""
        self.wait_until_counted("gpu_scheduler_refused_connections_total", reason)


@pytest.fixture
def secured(control_plane: ControlPlane, kubernetes_client: Client, tmp_path: Path) -> Iterator[Secured]:
    """A running extender, and a node that every pod fits on."""
    kubernetes_client.create(node("n", gpus=8))
    secured = Secured(control_plane, tmp_path)
    with secured.extender.process:
        yield secured


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """Ends the schedulers that a test starts."""
    with ExitStack() as running:
        yield running


def create(client: Client, name: str) -> None:
    client.create(pod(name, gpus=1, scheduler_name="gpu-scheduler"))


def wait_for_refusal(client: Client, name: str) -> str:
    """Wait until kube-scheduler says on a pod that the extender could not be asked; what it says."""
    events = client.watch("Event", "default", api_version="events.k8s.io/v1", seconds=60)
    for _, event in events:
        is_ours = event["regarding"]["name"] == name
        if is_ours and event["reason"] == "FailedScheduling" and "https://" in event["note"]:
            return str(event["note"])
    raise TimeoutError(name)


def test_with_certificates_of_one_ca_pods_are_scheduled_and_every_certificate_is_replaced_without_a_restart(
    control_plane: ControlPlane, kubernetes_client: Client, secured: Secured, running: ExitStack
) -> None:
    """First what the extender asks of its clients, which shuts kube-scheduler out; then kube-scheduler's own."""
    running.enter_context(control_plane.start_scheduler(secured.configuration(), name="scheduler-tls"))
    create(kubernetes_client, "first")
    kubernetes_client.wait_for("Pod", "first", is_bound)

    copyfile(secured.theirs.certificate, secured.of_extender.ca)
    secured.of_extender.take(secured.server(secured.ours))
    secured.wait_for_reload()
    create(kubernetes_client, "second")
    wait_for_refusal(kubernetes_client, "second")
    secured.wait_until_refused("CERTIFICATE_VERIFY_FAILED")

    secured.of_scheduler.take(secured.client(secured.theirs))
    kubernetes_client.wait_for("Pod", "second", is_bound)


def test_an_extender_with_a_certificate_of_another_ca_is_not_believed(
    control_plane: ControlPlane, kubernetes_client: Client, secured: Secured, running: ExitStack
) -> None:
    """Until it has one of the right CA."""
    running.enter_context(control_plane.start_scheduler(secured.configuration(), name="scheduler-tls"))
    secured.of_extender.take(secured.server(secured.theirs))
    secured.wait_for_reload()
    create(kubernetes_client, "waiting")
    assert "certificate signed by unknown authority" in wait_for_refusal(kubernetes_client, "waiting")
    secured.of_extender.take(secured.server(secured.ours))
    kubernetes_client.wait_for("Pod", "waiting", is_bound)


def test_a_kube_scheduler_without_a_certificate_is_refused(
    control_plane: ControlPlane, kubernetes_client: Client, secured: Secured, running: ExitStack
) -> None:
    """Though it believes the extender."""
    configuration = secured.configuration()
    for file in ("certFile", "keyFile"):
        del configuration["extenders"][0]["tlsConfig"][file]
    running.enter_context(control_plane.start_scheduler(configuration, name="scheduler-tls"))
    create(kubernetes_client, "refused")
    wait_for_refusal(kubernetes_client, "refused")
    secured.wait_until_refused("PEER_DID_NOT_RETURN_A_CERTIFICATE")
    assert not is_bound(kubernetes_client.get("Pod", "refused"))
