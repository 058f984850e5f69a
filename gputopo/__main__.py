"""`gputopo`: see `--help`, and docs/gputopo.md."""

import logging
import sys
from collections.abc import Callable
from typing import Final

import structlog
import typer

from gpu_topology.errors import GpuTopologyError
from gputopo.access import CannotAskError
from gputopo.explain import explain
from gputopo.node import node
from gputopo.nodes import nodes
from gputopo.output import printable
from gputopo.parse import parse
from gputopo.place import place
from gputopo.pods import pods
from gputopo.predict import predict
from gputopo.show import show
from gputopo.simulate import simulate
from gputopo.top import top

BAD_INPUT: Final = 1
CANNOT_ASK: Final = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="GPUs and their links: of one machine, from a file, and of a cluster.",
)
_COMMANDS: Final[dict[str, tuple[Callable[..., None], ...]]] = {
    "One machine": (parse, show, place, predict),
    "A cluster": (nodes, node, pods, top, explain, simulate),
}
for panel, commands in _COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main(program: str = "gputopo") -> None:
    """Run a command.

    The exit status is 0; 1 for input that cannot be used, and where there is nothing of what was asked for; 2 for a
    wrong usage, and where there is nobody to ask.

    Args:
        program: what it is called in its own help.
    """
    # The extender's code logs what it does. Here that is the answer itself, or of no interest.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app(prog_name=program)
    except CannotAskError as error:
        _refuse(error)
        sys.exit(CANNOT_ASK)
    except GpuTopologyError as error:
        _refuse(error)
        sys.exit(BAD_INPUT)


def _refuse(error: GpuTopologyError) -> None:
    """Say what is wrong in one line: an extender's or an API server's own words may hold anything."""
    sys.stderr.write(f"gputopo: {printable(str(error))}\n")


def kubectl_main() -> None:
    """The same as a plugin of kubectl, which finds it on the PATH as `kubectl-gputopo`."""
    main("kubectl gputopo")


if __name__ == "__main__":
    main()
