"""The lock file of the images: what is tested is what runs, by its hashes, and a bill of materials tells of it."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from tests.manifests.files import REPOSITORY
from tests.manifests.locks import canonical, pins

RUN_TIME = REPOSITORY / "requirements.lock"
DEVELOPMENT = REPOSITORY / "requirements-dev.lock"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


@pytest.mark.parametrize("text", PROJECT["project"]["dependencies"])
def test_every_dependency_is_locked_at_a_version_that_is_allowed(text: str) -> None:
    requirement = Requirement(text)
    assert pins(RUN_TIME)[canonical(requirement.name)] in requirement.specifier


def test_what_runs_is_what_was_tested() -> None:
    tested = pins(DEVELOPMENT)
    assert {name: tested.get(name) for name in pins(RUN_TIME)} == pins(RUN_TIME)


def test_nothing_that_only_tests_need_is_installed() -> None:
    assert (
        not {"pytest", "mypy", "ruff", "hypothesis", "schemathesis", "cryptography", "matplotlib"}
        & pins(RUN_TIME).keys()
    )


@pytest.mark.parametrize("lock", [RUN_TIME, DEVELOPMENT], ids=lambda path: path.name)
def test_every_package_has_hashes_and_no_registry_is_named(lock: Path) -> None:
    text = lock.read_text()
    entries = re.split(r"\n(?=\S)", "\n" + re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE))
    entries = [entry for entry in entries if entry.strip()]
    assert len(entries) == len(re.findall(r"^[^\s#]", text, re.MULTILINE))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_bill_of_materials_is_valid_and_names_every_locked_package(tmp_path: Path) -> None:
    """By the command of `make sbom`."""
    [line] = re.findall(r"cyclonedx_py (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    target = tmp_path / "sbom.json"
    arguments = line.replace("$(RUN_TIME_LOCK)", "requirements.lock").replace("$(SBOM)", str(target)).split()
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(target.read_text())
    version = SchemaVersion.from_version(document["specVersion"])
    assert JsonStrictValidator(version).validate_str(target.read_text()) is None
    named = {canonical(each["name"]): each["version"] for each in document["components"]}
    assert named == pins(RUN_TIME)
    assert document["metadata"]["component"]["name"] == PROJECT["project"]["name"]


def test_the_wheel_holds_every_file_of_its_packages(tmp_path: Path) -> None:
    """Machine profiles and workloads as well as code."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    built = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    kept = {
        str(path.relative_to(REPOSITORY))
        for package in packages
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert built == kept
    assert "topology_agent/machines/hgx-h100.yaml" in built
