"""benchmarks/placement.py: that it measures, not how fast."""

from rich.console import Console

from benchmarks.placement import SIZED_MACHINES, measure, table
from topology_agent.profiles import load_machine


def test_every_size_and_both_batches_have_figures_that_can_be_shown() -> None:
    figures = measure(questions=50, lines=200)

    assert list(figures) == [*map(str, SIZED_MACHINES), "batch"]
    assert all(value > 0 for row in figures.values() for value in row.values())
    console = Console(width=120)
    with console.capture() as shown:
        console.print(table(figures))
    assert "lines/s about one machine" in shown.get()


def test_the_machines_have_the_sizes_that_they_stand_for() -> None:
    assert {len(load_machine(name)) for name in SIZED_MACHINES.values()} == set(SIZED_MACHINES)
