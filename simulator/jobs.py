"""The jobs of a simulation, and how they are read from traces.

A trace is CSV with the columns `arrival_s,duration_s,gpus` and perhaps `group`; other columns are not looked at. Rows
of the same group are the pods of one job, which starts when all of them have their GPUs.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final

from gpu_topology.errors import SettingsError
from gpu_topology.request import ContainerRequest, GpuRequest

_LINE: Final = "job-"
"""A job of a trace is called after its line."""
_COLUMNS: Final = ("arrival_s", "duration_s", "gpus")


@dataclass(frozen=True, slots=True)
class Job:
    """One or several pods that start together.

    Attributes:
        name: unique among the jobs of a simulation.
        arrival_s: when its pods are created.
        duration_s: how long it runs with the fastest sets that an empty cluster would give it.
        pods: what each pod asks for.
        communication: seconds of communication over a link of `speed.REFERENCE_GBPS` for each second of computing.
    """

    name: str
    arrival_s: float
    duration_s: float
    pods: tuple[GpuRequest, ...]
    communication: float = 0.0

    @property
    def gpus(self) -> int:
        """The GPUs of all pods together."""
        return sum(pod.total for pod in self.pods)


@cache
def pod_of(gpus: int) -> GpuRequest:
    """The request of a pod with one container that asks for so many GPUs; equal ones are one object."""
    return GpuRequest((ContainerRequest("main", gpus),))


def read_trace(file: Path, node_sizes: Sequence[int]) -> list[Job]:
    """The jobs of a trace, in the order of arrival.

    Args:
        file: the CSV file.
        node_sizes: the GPUs of each node; a row that asks for more than the largest becomes a job of several pods.

    Raises:
        SettingsError: the file cannot be read, or the cluster cannot hold a job; the message names the line.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"{file} is not CSV: {error}") from error
    if not rows:
        raise SettingsError(f"{file}: no jobs")
    missing = [name for name in _COLUMNS if name not in rows[0]]
    if missing:
        raise SettingsError(f"{file}: there is no column {missing[0]}")
    jobs = [
        _job(f"{file}, line {line}", f"{_LINE}{line}", row, max(node_sizes)) for line, row in enumerate(rows, start=2)
    ]
    joined = sorted(_joined(jobs, [row.get("group") or "" for row in rows]), key=lambda job: job.arrival_s)
    for job in joined:
        if obstacle := find_obstacle(job.pods, node_sizes):
            raise SettingsError(f"{file}, line {job.name.removeprefix(_LINE)}: {obstacle}")
    return joined


def with_load(jobs: Sequence[Job], load: float, gpus: int) -> list[Job]:
    """The same jobs, arriving so much faster or slower that they ask for this share of the cluster's GPUs.

    Args:
        jobs: in the order of arrival.
        load: GPU-seconds asked for, over GPU-seconds between the first and the last arrival.
        gpus: of the cluster.

    Raises:
        SettingsError: all jobs arrive at once, so that no pace makes a load.
    """
    first, last = jobs[0].arrival_s, jobs[-1].arrival_s
    if last <= first:
        raise SettingsError("a load needs jobs that arrive over some time, but all arrive at once")
    pace = sum(job.duration_s * job.gpus for job in jobs) / (load * gpus) / (last - first)
    return [replace(job, arrival_s=(job.arrival_s - first) * pace) for job in jobs]


def find_obstacle(pods: Sequence[GpuRequest], node_sizes: Sequence[int]) -> str | None:
    """Why pods that start together cannot do so even when all nodes are empty; None where nothing is found.

    Nothing is found for a few groups of pods of different sizes that fit one by one only.

    Args:
        pods: of one job.
        node_sizes: the GPUs of each node.
    """
    sizes, gpus = [pod.total for pod in pods], sum(node_sizes)
    if sum(sizes) > gpus:
        return f"the job asks for {sum(sizes)} GPUs, but the cluster has {gpus}"
    for size in sorted(set(sizes)):
        asked, room = sum(other >= size for other in sizes), sum(node // size for node in node_sizes)
        if asked > room:
            return f"the job has {asked} pods of {size} GPUs or more, but the nodes have room for {room}"
    return None


def split(gpus: int, largest_pod: int) -> tuple[GpuRequest, ...]:
    """The pods of a job that asks for so many GPUs: as large as a node, and a smaller one for the rest."""
    whole, rest = divmod(gpus, largest_pod)
    return (pod_of(largest_pod),) * whole + ((pod_of(rest),) if rest else ())


def _job(where: str, name: str, row: Mapping[str, str | None], largest_pod: int) -> Job:
    arrival, duration, gpus = (_number(where, column, row[column]) for column in _COLUMNS)
    if gpus < 1 or gpus != int(gpus):
        raise SettingsError(f"{where}: gpus must be a whole number, at least 1")
    return Job(name, arrival, duration, split(int(gpus), largest_pod))


def _number(where: str, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError as error:
        raise SettingsError(f"{where}: {column} is {text!r}, which is not a number") from error
    if not 0 <= value < float("inf"):
        raise SettingsError(f"{where}: {column} is {text!r}: it must be 0 or more")
    return value


def _joined(jobs: Sequence[Job], groups: Sequence[str]) -> Iterable[Job]:
    """One job for each group: it arrives with its last row and runs as long as its longest."""
    named = sorted(
        zip((group or job.name for group, job in zip(groups, jobs, strict=True)), jobs, strict=True), key=_key
    )
    for _, pairs in groupby(named, key=_key):
        members = [job for _, job in pairs]
        yield replace(
            members[0],
            arrival_s=max(job.arrival_s for job in members),
            duration_s=max(job.duration_s for job in members),
            pods=tuple(pod for job in members for pod in job.pods),
        )


def _key(named: tuple[str, Job]) -> str:
    return named[0]
