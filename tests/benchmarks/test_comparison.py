"""Workloads, runs, figures, and what is written about them."""

import csv
from pathlib import Path

import orjson
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.simulation import commands, report
from benchmarks.simulation.comparison import Comparison, Sample, compare
from benchmarks.simulation.estimate import estimate
from benchmarks.simulation.metrics import Moment, Timeline
from benchmarks.simulation.policies import POLICIES
from benchmarks.simulation.run import run
from benchmarks.simulation.workload import Workload, read_workload, shipped_workloads
from gpu_topology.errors import SettingsError
from tests.benchmarks.clusters import cluster

WORKLOAD = """
description: two small nodes
nodes: {dgx-1v: 1, pcie-8: 1}
jobs: {generator: itp, count: 40}
load: 0.9
seeds: 2
"""


def workload(folder: Path, more: str = "", text: str = WORKLOAD) -> Workload:
    file = folder / "small.yaml"
    file.write_text(text + more)
    return read_workload(file)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_figures(tmp_path: Path, policy: str) -> None:
    small = workload(tmp_path)
    machines = small.machines()
    one, same = (run(machines, small.job_list(machines, 1), policy, 1).figures for _ in range(2))
    assert one == same
    assert one.jobs == 40
    assert 0 < one.allocation_ratio <= 1
    assert 0 < one.bandwidth_share_p5 <= one.bandwidth_share_mean <= 1
    assert one.completion_mean_s >= one.waiting_mean_s
    assert one.slowdown_mean >= 1


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    small = workload(tmp_path)
    with pytest.raises(SettingsError, match="there is no policy 'guess'"):
        run(small.machines(), small.job_list(small.machines(), 1), "guess", 1)


@pytest.mark.parametrize("name", shipped_workloads())
def test_every_shipped_workload_can_be_read(name: str) -> None:
    assert read_workload(shipped_workloads()[name]).description


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a YAML mapping"),
        (": :", "not a YAML mapping"),
        ("description: x", "nodes: Field required"),
        (WORKLOAD.replace("itp", "guess"), "jobs: .*the generators are itp, philly"),
        (WORKLOAD.replace("generator: itp", "trace: a.csv, generator: itp"), "either a generator or a trace"),
        (WORKLOAD + "thresholds: {guess: {}}", "the policies are"),
        (WORKLOAD + "thresholds: {vendor: {speed: {at_least: 1}}}", "speed is none of the figures"),
        (WORKLOAD + "colour: red", "colour: Extra inputs"),
    ],
)
def test_a_workload_that_cannot_be_used_is_refused_with_a_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        workload(tmp_path, text=text)


def test_nodes_come_from_dumps_too(tmp_path: Path) -> None:
    """A path is read as an output of `nvidia-smi topo -m`, relative to the workload's folder."""
    (tmp_path / "pair.txt").write_text("\tGPU0\tGPU1\nGPU0\t X \tNV2\nGPU1\tNV2\t X \n")
    nodes = workload(tmp_path, text=WORKLOAD.replace("dgx-1v: 1", "pair.txt: 2")).machines()
    assert list(nodes) == ["pair-0000", "pcie-8-0000", "pair-0001"]
    assert len(nodes["pair-0001"]) == 2


def test_a_machine_that_is_neither_profile_nor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither a readable file nor a machine profile"):
        workload(tmp_path, text=WORKLOAD.replace("dgx-1v", "dgx-9")).machines()


def test_the_mean_over_seeds_has_an_interval() -> None:
    """Of 1, 2 and 3: t is 4.303 for two degrees of freedom, the standard error 1 over the root of 3."""
    found = estimate([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half_width == pytest.approx(4.303 / 3**0.5)
    assert estimate([5.0]) == (5.0, None)


def test_the_timeline_weighs_moments_by_how_long_they_last() -> None:
    """Half full for 9 s, then empty for 1 s; the four free GPUs serve no request of eight."""
    timeline, nodes = Timeline(), cluster("pcie-8")
    timeline.moments = [Moment(0, 0.5, 0.07, 0), Moment(9, 0.0, 0.0, 0), Moment(20, 1.0, 1.0, 0)]
    assert timeline.means_until(10) == pytest.approx((0.45, 0.063))
    timeline(30, nodes, 3)
    assert timeline.moments[-1] == Moment(30, 0.0, 0.0, 3)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    small = workload(tmp_path_factory.mktemp("workload"), "thresholds: {vendor: {best_class_share: {at_least: 2}}}")
    steps: list[None] = []
    found = compare("small", small, ["extender-best", "vendor"], progress=lambda: steps.append(None))
    assert len(steps) == 4
    return found


def test_policies_are_compared_over_all_seeds(comparison: Comparison) -> None:
    assert {policy: [sample.seed for sample in samples] for policy, samples in comparison.samples.items()} == {
        "extender-best": [1, 2],
        "vendor": [1, 2],
    }
    document = comparison.document()
    assert document["policies"]["vendor"]["jobs"] == {"mean": 40, "ci95": 0}
    assert document["decisions_per_s"]["vendor"] > 0


def test_a_threshold_that_is_not_kept_is_reported(comparison: Comparison) -> None:
    (broken,) = comparison.broken_thresholds()
    assert broken.startswith("small: vendor: best_class_share is ")
    assert broken.endswith("which should be at least 2")


def test_figures_are_written_as_json_and_csv(comparison: Comparison, tmp_path: Path) -> None:
    document, sheet = report.write_files([comparison], tmp_path / "results")
    assert orjson.loads(document.read_bytes())[0]["workload"] == "small"
    with sheet.open() as lines:
        rows = list(csv.DictReader(lines))
    sample: Sample = comparison.samples["vendor"][1]
    (value,) = (
        row["value"] for row in rows if (row["policy"], row["seed"], row["figure"]) == ("vendor", "2", "makespan_s")
    )
    assert float(value) == sample.figures["makespan_s"]


def test_tables_have_a_row_for_each_policy_and_each_figure(comparison: Comparison) -> None:
    assert report.table(comparison).row_count == 2
    gaps = report.difference_table(comparison, "extender-best", "vendor")
    assert gaps.row_count == len(comparison.samples["vendor"][0].figures)
    console = Console(record=True, width=200)
    console.print(report.table(comparison), gaps)
    assert "extender-best" in console.export_text()


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command("list")(commands.list_experiments)
    made.command()(commands.run)
    made.command()(commands.compare)
    return made


def test_everything_that_can_be_run_is_listed(app: typer.Typer) -> None:
    text = CliRunner().invoke(app, ["list"]).stdout
    assert all(name in text for name in [*EXPERIMENTS, *shipped_workloads(), *POLICIES])


def test_a_workload_is_run_from_its_file(app: typer.Typer, tmp_path: Path) -> None:
    """The last line is one JSON object."""
    workload(tmp_path)
    options = ["--policy", "vendor", "--seeds", "1", "--output", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, ["run", str(tmp_path / "small.yaml"), *options])
    assert orjson.loads(done.stdout.splitlines()[-1])["policies"]["vendor"]["jobs"]["mean"] == 40
    assert (tmp_path / "out" / "results.csv").exists()


def test_two_policies_are_compared(app: typer.Typer, tmp_path: Path) -> None:
    workload(tmp_path)
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
