"""The experiments by name: what each measures, its tables, and its figures as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rich.table import Table

from benchmarks.experiments import amaral, mapa, openb, optimum


@dataclass(frozen=True, slots=True)
class Result:
    """What an experiment came to.

    Attributes:
        table: for a person.
        document: the same as JSON.
    """

    table: Table
    document: Any


class Experiment(NamedTuple):
    """An experiment that can be asked for by name."""

    summary: str
    measure: Callable[[], Result]


def _mapa() -> Result:
    figures = mapa.measure()
    return Result(mapa.table(figures), mapa.document(figures))


def _amaral() -> Result:
    figures = amaral.measure()
    return Result(amaral.table(figures), figures)


def _openb() -> Result:
    figures = openb.measure()
    return Result(openb.table(figures), openb.document(figures))


def _optimum() -> Result:
    figures = optimum.measure()
    return Result(optimum.table(figures), figures)


EXPERIMENTS: Final[Mapping[str, Experiment]] = {
    "mapa": Experiment("effective bandwidth of the sets that jobs get on one machine (SC'21)", _mapa),
    "amaral": Experiment("slowdown of two-GPU jobs by measured execution times (SC'17)", _amaral),
    "openb": Experiment("idle GPUs when more are asked for than exist (ATC'23), whole GPUs", _openb),
    "optimum": Experiment("distance from the best possible placement on small cases", _optimum),
}
