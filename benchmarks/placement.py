"""How long placement takes, how much its tables hold, and how many lines a second `gputopo place --batch` answers."""

import random
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from statistics import quantiles
from typing import IO, Final, NamedTuple

import orjson
from rich.table import Table

from benchmarks.synthetic_cluster import MACHINES
from gpu_topology.contract import Allocation, encode_topology
from gpu_topology.placement import LinkTables, assess, gpus_of, tables_of
from gpu_topology.placement.exact import ExactTables
from gpu_topology.placement.link_graph import link_graph_of
from gpu_topology.placement.worth import WorthModel
from gpu_topology.request import ContainerRequest, GpuRequest
from gpu_topology.topology import NodeTopology
from topology_agent.profiles import load_machine

SIZED_MACHINES: Final = {4: "p4-nvlink-4", 8: "dgx-1v", 16: "dgx-2"}
"""A machine for each number of GPUs."""
BATCH_GPUS: Final = 8

Figures = dict[str, dict[str, float]]


class Question(NamedTuple):
    """A mask of free GPUs, and how many of them are asked for."""

    free: int
    size: int


def measure(questions: int = 2000, lines: int = 100_000, seed: int = 1) -> Figures:
    """Times and sizes: `{"8": {"tables_ms": ...}, "batch": {"one_machine_lines_per_s": ...}}`.

    `tables_ms` and `tables_kib` are of the first sight of a machine. `cold` is a question that was not asked before,
    `warm` the same question again.

    Args:
        questions: the most questions asked of each machine; a small one has fewer different ones.
        lines: of each batch.
        seed: of the questions.
    """
    chooser = random.Random(seed)
    figures = {
        str(gpus): _measure_machine(load_machine(name), questions, chooser) for gpus, name in SIZED_MACHINES.items()
    }
    several = [machine for machine in map(load_machine, MACHINES) if len(machine) == BATCH_GPUS]
    figures["batch"] = {
        "one_machine_lines_per_s": _lines_per_second(several[:1], lines, chooser),
        "several_machines_lines_per_s": _lines_per_second(several, lines, chooser),
    }
    return figures


def table(figures: Figures) -> Table:
    """The figures for a person."""
    result = Table("GPUs", "tables ms", "tables KiB", "cold p50 us", "cold max us", "warm p50 us", "warm p99 us")
    for gpus in map(str, SIZED_MACHINES):
        row = figures[gpus]
        times = [row[name] for name in ("cold_p50_us", "cold_max_us", "warm_p50_us", "warm_p99_us")]
        result.add_row(
            gpus, f"{row['tables_ms']:.1f}", f"{row['tables_kib']:.0f}", *(f"{value:.1f}" for value in times)
        )
    batch = figures["batch"]
    result.title = "Placement"
    result.caption = (
        f"gputopo place --batch, {BATCH_GPUS} GPUs: {batch['one_machine_lines_per_s']:,.0f} lines/s about one machine, "
        f"{batch['several_machines_lines_per_s']:,.0f} about several"
    )
    return result


def _measure_machine(topology: NodeTopology, questions: int, chooser: random.Random) -> dict[str, float]:
    started = time.perf_counter()
    tables = tables_of(topology)
    elapsed = time.perf_counter() - started
    asked = list({_question(len(topology), chooser): None for _ in range(questions)})
    cold, warm = list(_times(tables, asked)), list(_times(tables, asked))
    return {
        "tables_ms": round(elapsed * 1e3, 3),
        "tables_kib": round(_memory_of(lambda: ExactTables(link_graph_of(topology), WorthModel.RING)) / 1024, 1),
        "cold_p50_us": round(quantiles(cold, n=100)[49], 1),
        "cold_max_us": round(max(cold), 1),
        "warm_p50_us": round(quantiles(warm, n=100)[49], 1),
        "warm_p99_us": round(quantiles(warm, n=100)[98], 1),
    }


def _question(gpus: int, chooser: random.Random) -> Question:
    free = chooser.randrange(1, 1 << gpus)
    return Question(free, chooser.randint(1, free.bit_count()))


def _times(tables: LinkTables, questions: list[Question]) -> Iterator[float]:
    """Microseconds of each answer."""
    requests = {size: GpuRequest((ContainerRequest("main", size),)) for size in range(1, len(tables) + 1)}
    for free, size in questions:
        started = time.perf_counter()
        assess(tables, free, requests[size], Allocation.BEST)
        yield (time.perf_counter() - started) * 1e6


def _memory_of(build: Callable[[], object]) -> int:
    """Bytes that are held as long as what is built is."""
    tracemalloc.start()
    built = build()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del built
    return held


def _lines_per_second(machines: list[NodeTopology], lines: int, chooser: random.Random) -> float:
    """Without the start of the program: the clock starts when it has answered a first line."""
    documents = [orjson.loads(encode_topology(machine)) for machine in machines]
    batch = b"".join(_line(documents, number, chooser) for number in range(lines))
    command = [sys.executable, "-m", "gputopo", "place", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        _converse(program, _line(documents, lines, chooser))
        started = time.perf_counter()
        answers, _ = program.communicate(batch)
        elapsed = time.perf_counter() - started
    if answers.count(b"\n") != lines or b'"error"' in answers:
        raise RuntimeError("gputopo did not answer every line")
    return round(lines / elapsed)


def _converse(program: subprocess.Popen[bytes], line: bytes) -> None:
    _pipe(program.stdin).write(line)
    _pipe(program.stdin).flush()
    _pipe(program.stdout).readline()


def _line(documents: list[object], number: int, chooser: random.Random) -> bytes:
    free, size = _question(BATCH_GPUS, chooser)
    document = {"id": number, "topology": chooser.choice(documents), "free": gpus_of(free), "gpus": size}
    return orjson.dumps(document) + b"\n"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("gputopo was started without pipes")
    return pipe
