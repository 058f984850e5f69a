"""JSON lines in, JSON lines out, one answer for each line, in order.

Each answer is flushed when its line is done, so that a program can wait for it before it writes the next line. The
fields are described in docs/gputopo.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Final, TypeAlias

import orjson

from gpu_topology.errors import GpuTopologyError
from gpu_topology.request import Communication
from gpu_topology.topology import NodeTopology
from gputopo.topology_json import topology_of

Answerer: TypeAlias = Callable[[int, int, Communication | None], Mapping[str, Any]]
"""Answers a question about one machine: (mask of the free GPUs, GPUs asked for, communication) to the answer's fields
besides `id`. Raises `GpuTopologyError` where there is no answer."""

_MACHINES_KEPT: Final = 64


class LineError(GpuTopologyError):
    """A line of a batch cannot be used."""


@dataclass(frozen=True, slots=True, eq=False)
class _Machine:
    gpus: int
    answer: Answerer


class Batch:
    """One run over many lines.

    Args:
        answerer_of: makes the answerer of a machine; may raise `GpuTopologyError`.
        answers_kept: how many answers are remembered, over all machines.
    """

    def __init__(self, answerer_of: Callable[[NodeTopology], Answerer], answers_kept: int) -> None:
        self._answerer_of = answerer_of
        self._machine_of = lru_cache(maxsize=_MACHINES_KEPT)(self._new_machine)
        self._fields = lru_cache(maxsize=answers_kept)(_fields)
        self._previous: _Machine | None = None

    def run(self, lines: BinaryIO, answers: BinaryIO) -> None:
        """Answer line by line until the input ends."""
        for line in lines:
            answers.write(self.reply(line))
            answers.flush()

    def reply(self, line: bytes) -> bytes:
        """The answer to one line, with the line's end."""
        question: Any = None
        try:
            question = _object(line)
            return _line(question.get("id"), self._answer(question))
        except GpuTopologyError as error:
            identity = question.get("id") if question else None
            return _line(identity, orjson.dumps({"error": str(error)}))

    def _answer(self, question: Mapping[str, Any]) -> bytes:
        machine = self._machine(question)
        free = _free_mask(question.get("free"), machine.gpus)
        communication = _communication(question.get("communication"))
        return self._fields(machine, free, _size(question.get("gpus")), communication)

    def _machine(self, question: Mapping[str, Any]) -> _Machine:
        """The machine that a question is about; one that leaves it out is about the previous one's."""
        if "topology" in question:
            self._previous = None
            # The text, as it can be looked up at once.
            self._previous = self._machine_of(orjson.dumps(question["topology"]))
        if self._previous is None:
            raise LineError("topology is missing, and no line before has one that could be used")
        return self._previous

    def _new_machine(self, text: bytes) -> _Machine:
        topology = topology_of(orjson.loads(text))
        return _Machine(len(topology), self._answerer_of(topology))


def _object(line: bytes) -> dict[str, Any]:
    try:
        question = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise LineError(f"the line is not JSON: {error}") from error
    if not isinstance(question, dict):
        raise LineError("the line is not a JSON object")
    return question


def _free_mask(free: Any, gpus: int) -> int:
    if not isinstance(free, list):
        raise LineError("free must be a list of GPUs")
    mask = 0
    for gpu in free:
        if type(gpu) is not int or not 0 <= gpu < gpus:
            raise LineError(f"free must list GPUs from 0 to {gpus - 1}")
        mask |= 1 << gpu
    if mask.bit_count() != len(free):
        raise LineError("free names a GPU twice")
    return mask


def _size(gpus: Any) -> int:
    if type(gpus) is not int or gpus < 1:
        raise LineError("gpus must be a number of GPUs, at least 1")
    return gpus


def _communication(name: Any) -> Communication | None:
    try:
        return None if name is None else Communication(name)
    except ValueError as error:
        raise LineError(f"communication must be one of {', '.join(Communication)}") from error


def _fields(machine: _Machine, free: int, size: int, communication: Communication | None) -> bytes:
    return orjson.dumps(machine.answer(free, size, communication))


def _line(identity: Any, fields: bytes) -> bytes:
    """The answer's fields, a JSON object, with the `id` put before them."""
    return b'{"id":' + orjson.dumps(identity) + b"," + fields[1:] + b"\n"
