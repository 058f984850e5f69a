"""The commands of the simulator."""

from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import simulations
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.workload import shipped_workloads
from gpu_topology.errors import SettingsError
from simulator.policies import POLICIES
from tests.benchmarks.test_workload import WORKLOAD


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command("list")(simulations.list_experiments)
    made.command()(simulations.run)
    made.command()(simulations.compare)
    return made


def test_everything_that_can_be_run_is_listed(app: typer.Typer) -> None:
    text = CliRunner().invoke(app, ["list"]).stdout
    assert all(name in text for name in [*EXPERIMENTS, *shipped_workloads(), *POLICIES])


def test_a_workload_is_run_from_its_file(app: typer.Typer, tmp_path: Path) -> None:
    """The last line is one JSON object."""
    (tmp_path / "small.yaml").write_text(WORKLOAD)
    options = ["--policy", "vendor", "--seeds", "1", "--output", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, ["run", str(tmp_path / "small.yaml"), *options])
    assert orjson.loads(done.stdout.splitlines()[-1])["policies"]["vendor"]["jobs"]["mean"] == 40
    assert (tmp_path / "out" / "results.csv").exists()


def test_two_policies_are_compared(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(WORKLOAD)
    arguments = [
        "compare",
        "first-fit",
        "best-fit",
        "--workload",
        str(tmp_path / "small.yaml"),
        "--seeds",
        "1",
        "--json",
    ]
    done = CliRunner().invoke(app, arguments)
    assert set(orjson.loads(done.stdout.splitlines()[-1])["policies"]) == {"first-fit", "best-fit"}


@pytest.mark.parametrize("arguments", [["run", "guess"], ["run", "mixed-itp", "--policy", "guess"]])
def test_what_cannot_be_run_is_refused(app: typer.Typer, arguments: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, arguments).exception, SettingsError)
