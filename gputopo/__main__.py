"""`gputopo`: see `--help`, and docs/gputopo.md."""

import sys

import typer

from gpu_topology.errors import GpuTopologyError
from gputopo.explain import explain
from gputopo.parse import parse
from gputopo.place import place
from gputopo.predict import predict
from gputopo.show import show
from gputopo.simulate import simulate

BAD_INPUT = 1

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="How the GPUs of a machine are linked, which of them to take, which the vendor would take; why a pod "
    "waits; what a cluster would gain.",
)
for command in (parse, show, place, predict, explain, simulate):
    app.command()(command)


def main() -> None:
    """Run a command. The exit status is 0, 1 for input that cannot be used, 2 for a wrong usage."""
    try:
        app(prog_name="gputopo")
    except GpuTopologyError as error:
        sys.stderr.write(f"gputopo: {error}\n")
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
