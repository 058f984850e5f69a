"""`make bench`: its targets, its parts, and what it says of both."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.suite.parts import PARTS, Part
from benchmarks.suite.run import run, table, whole_forms
from benchmarks.suite.target import Target, at_least, at_most, summary
from benchmarks.workload import shipped_workloads
from gpu_topology.errors import SettingsError

MOST_SECONDS = 20 * 60


@pytest.mark.parametrize(
    ("target", "verdict", "ratio"),
    [
        (at_least("speed", 1.5, 1.5), "reached", 1.0),
        (at_least("speed", 1.2, 1.5), "missed by 20.0%", 0.8),
        (at_most("memory", 450, 600), "reached", 0.75),
        (at_most("memory", 660, 600), "missed by 10.0%", 1.1),
        (at_most("lost pods", 0, 0), "reached", None),
        (at_most("lost pods", 3, 0), "missed by 3", None),
        (Target("time", 7), "", None),
    ],
)
def test_a_figure_is_judged_by_its_target(target: Target, verdict: str, ratio: float | None) -> None:
    assert target.verdict == verdict
    assert target.ratio == (None if ratio is None else pytest.approx(ratio))


def test_only_figures_with_a_target_are_counted() -> None:
    assert summary([at_least("a", 1, 1), at_least("b", 0, 1), Target("c", 5)]) == "1 of 2 targets reached"
    assert summary([Target("c", 5)]) == "no target"


def test_everything_together_takes_less_than_twenty_minutes() -> None:
    """By the times that were measured."""
    assert sum(part.seconds for part in PARTS.values()) < MOST_SECONDS


def test_the_whole_of_every_part_can_be_asked_for() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for part in PARTS.values():
        for command, *arguments in (whole.split() for whole in part.whole):
            assert command in commands
            assert command != "run" or arguments[0] in {*EXPERIMENTS, *shipped_workloads()}


def test_the_documented_parts_are_those_that_there_are() -> None:
    text = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text()
    for name, part in PARTS.items():
        assert f"| {name} | {part.here or 'the whole'} | {part.seconds} |" in text


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SettingsError, match="there is no part 'guess': the parts are placement, "):
        run(["guess"])


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One part that misses a target, and one that cannot run here."""

    def cannot() -> Sequence[Target]:
        raise SettingsError("no such thing here")

    made_up = {
        "mapa": Part("what it is", "half of it", ("run mapa",), 1, lambda: [at_least("speed", 1, 2)]),
        "memory": Part("what it is", "", ("memory",), 1, cannot),
    }
    monkeypatch.setattr("benchmarks.suite.run.PARTS", made_up)


@pytest.mark.usefixtures("parts")
def test_what_cannot_run_does_not_hold_up_the_rest() -> None:
    results = run([])
    console = Console(record=True, width=160)
    console.print(table(results))
    text = console.export_text()
    assert "mapa (half of it)" in text
    assert "missed by 50.0%" in text
    assert "not run: no such thing here" in text
    assert "0 of 1 targets reached" in text
    assert whole_forms(results) == ["shortened: mapa (half of it); the whole: python -m benchmarks run mapa"]


@pytest.mark.usefixtures("parts")
def test_the_figures_are_written_as_json(tmp_path: Path) -> None:
    file = tmp_path / "new" / "bench.json"
    done = CliRunner().invoke(app, ["bench", "mapa", "--output", str(file), "--json"])
    assert done.exit_code == 0
    [part] = json.loads(file.read_text())
    assert json.loads(done.stdout.splitlines()[-1]) == [part]
    assert (part["part"], part["shortened"], part["not_run"]) == ("mapa", "half of it", None)
    assert part["figures"] == [
        {"figure": "speed", "measured": 1, "wanted": 2, "side": "at least", "ratio": 0.5, "reached": False}
    ]
