"""The real go-gpuallocator, as a child process that answers questions about one machine at a time."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from gpu_topology.topology import NodeTopology
from tests.go_toolchain import GoModule

MODULE = GoModule(Path(__file__).parent / "go", "vendor-allocation")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the library picks, over the orders that it was asked about.

    Attributes:
        outcomes: bit masks of the sets that it picked, ascending; 0 is an empty answer.
        may_crash: whether some order makes the device plugin crash.
        orders: how many orders there were.
    """

    outcomes: tuple[int, ...]
    may_crash: bool
    orders: int


class VendorLibrary:
    """One running child process; a context manager that ends it.

    Args:
        program: the program, as `MODULE` builds it.
    """

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=10)  # closes its standard input, at which it ends

    def discover(self, topology: NodeTopology) -> list[list[list[str] | None]]:
        """Set the machine.

        Returns:
            n x n: the names of the links that the library finds between each two GPUs.
        """
        pcie = [["" if ancestor is None else ancestor.name for ancestor in row] for row in topology.pcie]
        machine = {"pcie": pcie, "nvlinks": topology.nvlinks, "nvswitch": bool(topology.nvswitch)}
        links: list[list[list[str] | None]] = self._ask({"machine": machine})
        return links

    def allocate(self, order: Sequence[int], size: int, required: Sequence[int] = ()) -> Answer:
        """What it picks from the free GPUs in one order."""
        return self._allocate(order, size, {"required": required})

    def allocate_in_all_orders(self, gpus: Sequence[int], size: int) -> Answer:
        """What it picks over all orders of the free GPUs."""
        return self._allocate(gpus, size, {"all": True})

    def allocate_shuffled(self, gpus: Sequence[int], size: int, shuffles: int) -> Answer:
        """What it picks over random orders of the free GPUs; the same ones each time."""
        return self._allocate(gpus, size, {"shuffles": shuffles})

    def _allocate(self, gpus: Sequence[int], size: int, how: dict[str, Any]) -> Answer:
        answer = self._ask({"free": gpus, "size": size, **how})
        return Answer(
            outcomes=tuple(sorted(map(int, answer["picked"]))),
            may_crash=answer["crashes"] > 0,
            orders=sum(answer["picked"].values()) + answer["crashes"],
        )

    def _ask(self, question: dict[str, Any]) -> Any:
        _pipe(self._process.stdin).write(orjson.dumps(question) + b"\n")
        _pipe(self._process.stdin).flush()
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise AssertionError(f"the library ended with exit status {self._process.wait()} at {question}")
        return orjson.loads(line)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("the child was started without pipes")
    return pipe
