"""The component `page`: the extender finds its token where the Secret is mounted, and the Service leads to it."""

import os
from pathlib import Path

import pytest
import yaml

from extender.settings import Settings
from tests.manifests.files import BASE, REPOSITORY, Manifest, render

COMPONENT = REPOSITORY / "manifests" / "components" / "page"
PREFIX = "GPU_SCHEDULER_"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, ...]:
    """The base with the component, as an overlay has it."""
    overlay = tmp_path_factory.mktemp("overlay").resolve()
    base, component = (os.path.relpath(folder, overlay) for folder in (BASE, COMPONENT))
    overlay.joinpath("kustomization.yaml").write_text(yaml.safe_dump({"resources": [base], "components": [component]}))
    return render(overlay)


@pytest.fixture(scope="module")
def template(rendered: tuple[Manifest, ...]) -> Manifest:
    """The scheduler's pods."""
    [template] = [each["spec"]["template"] for each in rendered if each["kind"] == "Deployment"]
    return template  # type: ignore[no-any-return]  # as YAML gives it


@pytest.fixture(scope="module")
def extender(template: Manifest) -> Manifest:
    [extender] = template["spec"]["initContainers"]
    return extender  # type: ignore[no-any-return]  # as YAML gives it


def test_the_extender_is_told_of_a_token_that_is_mounted(template: Manifest, extender: Manifest) -> None:
    variables = {entry["name"]: entry["value"] for entry in extender["env"] if entry["name"].startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in variables} <= Settings.model_fields.keys()
    token = Path(variables[f"{PREFIX}PAGE_TOKEN_FILE"])
    [mount] = [each for each in extender["volumeMounts"] if each["mountPath"] == str(token.parent)]
    [volume] = [each for each in template["spec"]["volumes"] if each["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": "gpu-scheduler-page"}
    assert mount["readOnly"]
    assert f"secret generic gpu-scheduler-page --from-literal={token.name}=" in (
        REPOSITORY / "docs" / "page.md"
    ).read_text().replace("\\\n    ", "")


def test_the_service_leads_to_the_port_of_the_page(
    rendered: tuple[Manifest, ...], template: Manifest, extender: Manifest
) -> None:
    services = [each for each in rendered if each["kind"] == "Service"]
    [service] = [each for each in services if each["metadata"]["name"] == "gpu-scheduler-page"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    [port] = service["spec"]["ports"]
    [served] = [each for each in extender["ports"] if each["name"] == port["targetPort"]]
    assert {"name": f"{PREFIX}PAGE_PORT", "value": str(served["containerPort"])} in extender["env"]
    [policy] = [each for each in rendered if each["metadata"]["name"] == "gpu-scheduler-page" and each != service]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": served["containerPort"]}]}]


def test_without_the_component_there_is_no_page() -> None:
    assert "PAGE" not in yaml.safe_dump_all(render(BASE))
