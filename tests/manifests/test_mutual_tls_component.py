"""The components for an extender in a pod of its own: there is one, only kube-scheduler reaches it, and by TLS."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from extender.settings import Settings
from tests.manifests.files import BASE, REPOSITORY, Manifest, containers, overlay, pod_specs, render
from tests.manifests.kubectl import Kubectl

COMPONENTS = REPOSITORY / "manifests" / "components"
EXTENDER = "gpu-scheduler-extender"


@pytest.fixture(scope="module", params=["mutual-tls", "mutual-tls-bind"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An overlay with one of the components."""
    return overlay(tmp_path_factory.mktemp("overlay"), COMPONENTS / request.param)


@pytest.fixture(scope="module")
def rendered(folder: Path) -> tuple[Manifest, ...]:
    """What kustomize makes of it."""
    return render(folder)


def find(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    """The only object of this kind and name."""
    [found] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return found


def environment(container: Manifest) -> dict[str, str]:
    """The variables of a container."""
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_there_is_one_extender_and_never_a_second(rendered: tuple[Manifest, ...]) -> None:
    """Neither beside a scheduler nor during an update: two would not know of one another's promises."""
    specs = dict(pod_specs(rendered))
    named = [name for name, spec in specs.items() for container in containers(spec) if container["name"] == "extender"]
    assert named == [EXTENDER]
    deployment = find(rendered, "Deployment", EXTENDER)["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert find(rendered, "Deployment", "gpu-scheduler")["spec"]["replicas"] == 2


def test_it_is_shut_in_as_the_sidecar_is(rendered: tuple[Manifest, ...]) -> None:
    """The same container, but for where it listens and its certificates."""
    [sidecar] = dict(pod_specs(render(BASE)))["gpu-scheduler"]["initContainers"]
    spec = dict(pod_specs(rendered))[EXTENDER]
    [container] = spec["containers"]
    own = {"env", "ports", "volumeMounts", "restartPolicy"}
    assert without(container, own) == without(sidecar, own)
    assert environment(sidecar).items() <= environment(container).items()
    assert spec["securityContext"] == dict(pod_specs(render(BASE)))["gpu-scheduler"]["securityContext"]
    assert spec["enableServiceLinks"] is False


def test_it_has_its_own_account_by_a_token_that_expires(rendered: tuple[Manifest, ...]) -> None:
    """The Secret with the other one is gone, and nothing mounts it."""
    assert dict(pod_specs(rendered))[EXTENDER]["serviceAccountName"] == "extender"
    assert "extender-token" not in yaml.safe_dump_all(rendered)


def test_kube_scheduler_asks_the_service_by_its_name(rendered: tuple[Manifest, ...]) -> None:
    """Which has to stand in the certificate."""
    [config] = [manifest for manifest in rendered if manifest["kind"] == "ConfigMap"]
    [extender] = yaml.safe_load(config["data"]["scheduler-config.yaml"])["extenders"]
    url = urlsplit(extender["urlPrefix"])
    service = find(rendered, "Service", EXTENDER)
    assert url.hostname == f"{EXTENDER}.gpu-scheduler.svc"
    assert url.port in {port["port"] for port in service["spec"]["ports"]}
    assert service["spec"]["selector"] == find(rendered, "Deployment", EXTENDER)["spec"]["selector"]["matchLabels"]


def test_both_find_the_files_of_their_secret(rendered: tuple[Manifest, ...]) -> None:
    """Under the names that cert-manager gives them."""
    for name, secret in ((EXTENDER, "extender-tls"), ("gpu-scheduler", "scheduler-tls")):
        spec = dict(pod_specs(rendered))[name]
        [volume] = [volume for volume in spec["volumes"] if "secret" in volume]
        assert volume["secret"]["secretName"] == secret
        [container] = spec["containers"]
        assert {"name": volume["name"], "mountPath": "/etc/tls", "readOnly": True} in container["volumeMounts"]
    [extender] = dict(pod_specs(rendered))[EXTENDER]["containers"]
    given = environment(extender)
    files = [given[f"GPU_SCHEDULER_TLS_{name}"] for name in ("CERTIFICATE", "KEY", "CLIENT_CA")]
    assert files == ["/etc/tls/tls.crt", "/etc/tls/tls.key", "/etc/tls/ca.crt"]


def test_every_variable_is_a_setting(rendered: tuple[Manifest, ...]) -> None:
    """One that was misspelt would be ignored in silence."""
    [extender] = dict(pod_specs(rendered))[EXTENDER]["containers"]
    prefix = "GPU_SCHEDULER_"
    names = {name.removeprefix(prefix).lower() for name in environment(extender) if name.startswith(prefix)}
    assert names <= set(Settings.model_fields)


def test_only_the_scheduler_reaches_the_verbs(rendered: tuple[Manifest, ...]) -> None:
    """Certificates are what counts; the network policy keeps others from even trying."""
    policy = find(rendered, "NetworkPolicy", EXTENDER)["spec"]
    [verbs] = [rule for rule in policy["ingress"] if "from" in rule]
    scheduler = find(rendered, "Deployment", "gpu-scheduler")["spec"]["selector"]
    assert verbs == {"from": [{"podSelector": scheduler}], "ports": [{"port": Settings().verbs_port}]}
    [probes] = [rule for rule in policy["ingress"] if "from" not in rule]
    assert probes == {"ports": [{"port": Settings().probes_port}]}
    assert policy["podSelector"] == find(rendered, "Deployment", EXTENDER)["spec"]["selector"]


def test_the_verbs_are_bound_where_a_binding_extender_is_told_to(folder: Path, rendered: tuple[Manifest, ...]) -> None:
    """Configuration and setting agree."""
    binds = "bind" in folder.joinpath("kustomization.yaml").read_text()
    [config] = [manifest for manifest in rendered if manifest["kind"] == "ConfigMap"]
    [extender] = dict(pod_specs(rendered))[EXTENDER]["containers"]
    assert ("bindVerb: bind" in config["data"]["scheduler-config.yaml"]) is binds
    assert (environment(extender).get("GPU_SCHEDULER_BIND") == "true") is binds


def test_the_api_server_takes_it(kubectl: Kubectl, folder: Path) -> None:
    """Without a warning, the pod's admission included."""
    done = kubectl("apply", "--server-side", "--dry-run=server", "-k", str(folder))
    assert done.returncode == 0, done.stderr
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "extender", "namespace": "gpu-scheduler"},
        "spec": dict(pod_specs(render(folder)))[EXTENDER],
    }
    done = kubectl("create", "--dry-run=server", "-f-", manifest=pod)
    assert done.returncode == 0, done.stderr


def without(container: Manifest, keys: set[str]) -> Manifest:
    """A container without some of its fields."""
    return {key: value for key, value in container.items() if key not in keys}
