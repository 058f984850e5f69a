"""The images: what their Containerfile copies exists, what they run is what the manifests say, and can be imported."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from typing import Any

import pytest
import yaml

from tests.manifests.containerfile import Stage, command, read_stages
from tests.manifests.files import BASE, REPOSITORY, Manifest, containers, pod_specs
from tests.manifests.locks import canonical, pins

STAGES = read_stages(REPOSITORY / "container" / "Containerfile")
IMAGES = {"extender": "gpu-scheduler-extender", "agent": "gpu-topology-agent"}
"""The stages that become images, with their names in the manifests."""
CODE = re.compile(r"--from=build /opt/gpu-topology/code/(\w+) /opt/gpu-topology/code/\1$")
INSTALLED = packages_distributions()


def container_of(image: str) -> tuple[Manifest, Manifest]:
    """The pod's specification and the container that runs an image."""
    documents = tuple(
        each for name in ("scheduler.yaml", "agent.yaml") for each in yaml.safe_load_all((BASE / name).read_text())
    )
    [found] = [
        (spec, container)
        for _, spec in pod_specs(documents)
        for container in containers(spec)
        if container["image"] == image
    ]
    return found


def own_packages(stage: Stage) -> list[str]:
    """The folders of ours that are in an image."""
    return [found[1] for each in (STAGES["base"], stage) for rest in each.all("COPY") if (found := CODE.match(rest))]


def imports_of(package: str) -> set[str]:
    """The first names of all absolute imports in a package, those within functions included."""
    found: set[str] = set()
    for path in (REPOSITORY / package).rglob("*.py"):
        for statement in ast.walk(ast.parse(path.read_text())):
            if isinstance(statement, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom) and not statement.level:
                found.add(str(statement.module).partition(".")[0])
    return found


def environment(stage: Stage) -> dict[str, str]:
    return dict(
        pair.split("=", 1) for each in (STAGES["base"], stage) for rest in each.all("ENV") for pair in rest.split()
    )


def test_every_base_has_a_name_and_a_tag_and_no_registry() -> None:
    for stage in STAGES.values():
        assert stage.base in STAGES or re.fullmatch(r"[a-z]+:[\w.-]+", stage.base), stage.base
    assert not STAGES["build"].base.endswith(":latest")


def test_the_python_of_the_images_is_one_that_the_packages_allow() -> None:
    found = re.match(r"python:3\.(\d+)-slim$", STAGES["build"].base)
    assert found
    assert int(found[1]) >= 11
    assert {STAGES["base"].base, STAGES["build"].base} == {STAGES["build"].base}


def test_everything_that_is_copied_exists_and_is_not_ignored() -> None:
    """.dockerignore leaves out all that it does not name."""
    rules = (REPOSITORY / ".dockerignore").read_text().split("\n")
    copied = [source for stage in STAGES.values() for source in stage.copied()]
    assert copied
    for source in copied:
        assert (REPOSITORY / source).exists()
        assert f"!{source}" in rules


def test_no_step_needs_a_shell_and_no_image_is_changed_after_it_was_copied_together() -> None:
    for stage in STAGES.values():
        for rest in [*stage.all("RUN"), *stage.all("CMD")]:
            assert command(rest)
        assert stage.name == "build" or not stage.all("RUN")


@pytest.mark.parametrize("stage", IMAGES)
def test_an_image_runs_what_its_manifest_runs_as_the_same_user(stage: str) -> None:
    spec, container = container_of(IMAGES[stage])
    security: dict[str, Any] = spec["securityContext"]
    [entry] = STAGES[stage].all("CMD")
    assert command(entry) == container["command"]
    [user] = STAGES[stage].all("USER")
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert environment(STAGES[stage])["PYTHONDONTWRITEBYTECODE"] == values["PYTHONDONTWRITEBYTECODE"]


@pytest.mark.parametrize("stage", IMAGES)
def test_an_image_holds_all_that_its_code_imports(stage: str) -> None:
    """Ours by their folders, and none of them in vain; those of others by the lock file."""
    own = own_packages(STAGES[stage])
    [entry] = STAGES[stage].all("CMD")
    assert command(entry)[-1] in own
    imported = set().union(*map(imports_of, own)) - set(sys.stdlib_module_names)
    ours = {path.name for path in REPOSITORY.iterdir() if (path / "__init__.py").exists()}
    assert imported & ours == set(own)
    locked = pins(REPOSITORY / "requirements.lock")
    for module in imported - ours:
        candidates = {canonical(name) for name in INSTALLED[module]}
        if module == "google":  # a namespace of several
            candidates = {"protobuf"}
        assert candidates & locked.keys(), module
