"""docs/security.md speaks of all that there is, and what it tells to do works."""

import os
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest

from extender.tls import LOOK_SECONDS, CertificateFiles, Certificates
from tests.control_plane.certificates import KeyPair
from tests.control_plane.cluster import ControlPlane
from tests.extender.handshakes import Client
from tests.manifests import files
from tests.manifests.files import BASE, REPOSITORY, containers, fenced_blocks, overlay, pod_specs, render

PAGE = REPOSITORY / "docs" / "security.md"
SERVICE = "gpu-scheduler-extender.gpu-scheduler.svc"


def test_every_policy_account_mount_and_port_is_on_the_page(tmp_path: Path) -> None:
    """With the component that adds most."""
    text = PAGE.read_text()
    manifests = render(overlay(tmp_path, REPOSITORY / "manifests" / "components" / "mutual-tls"))
    kinds = {"ValidatingAdmissionPolicy", "NetworkPolicy", "ServiceAccount"}
    names = {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] in kinds}
    specs = [spec for of in (manifests, render(BASE)) for _, spec in pod_specs(of)]
    volumes = [volume for spec in specs for volume in spec["volumes"]]
    names |= {volume["hostPath"]["path"] for volume in volumes if "hostPath" in volume}
    names |= {volume["secret"]["secretName"] for volume in volumes if "secret" in volume}
    ports = {str(port["containerPort"]) for spec in specs for c in containers(spec) for port in c.get("ports", ())}
    assert {name for name in names if f"`{name}`" not in text and f"/{name}`" not in text} == set()
    assert {port for port in ports if f"| {port}, " not in text} == set()
    assert f"every {LOOK_SECONDS:.0f} seconds" in text


@pytest.mark.usefixtures("kubectl")
def test_the_certificates_that_openssl_makes_as_documented_let_the_scheduler_in(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """The page's own commands, and what is then in the Secrets."""
    _run_the_documented_commands(control_plane, tmp_path)
    extender, scheduler = (_files_of(control_plane, tmp_path, f"{name}-tls") for name in ("extender", "scheduler"))
    certificates = Certificates(extender)
    client = Client(scheduler.client_ca, KeyPair(scheduler.certificate, scheduler.key), server=SERVICE)
    assert client.connects_to(certificates)
    assert not Client(scheduler.client_ca, None, server=SERVICE).connects_to(certificates)
    impostor = Client(extender.client_ca, KeyPair(extender.certificate, extender.key), server=SERVICE)
    assert not impostor.connects_to(certificates)


def _run_the_documented_commands(control_plane: ControlPlane, folder: Path) -> None:
    if shutil.which("openssl") is None:
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("There is no openssl.")
    [commands] = [block for block in fenced_blocks(PAGE, "sh") if "openssl req" in block]
    programs = folder / "bin"
    programs.mkdir()
    programs.joinpath("kubectl").symlink_to(files.kubectl())
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "KUBECONFIG": str(control_plane.kubeconfig())}
    done = subprocess.run(
        ["sh", "-eu", "-c", commands],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _files_of(control_plane: ControlPlane, folder: Path, secret: str) -> CertificateFiles:
    """The files of a Secret, as a kubelet mounts them."""
    data = control_plane.client.get("Secret", secret, "gpu-scheduler")["data"]
    mounted = folder / secret
    mounted.mkdir()
    for name, content in data.items():
        mounted.joinpath(name).write_bytes(b64decode(content))
    return CertificateFiles(mounted / "tls.crt", mounted / "tls.key", mounted / "ca.crt")
