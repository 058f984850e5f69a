"""`python -m extender`: see `--help`."""

import asyncio
import sys
from collections.abc import Sequence

import uvloop

from extender.logs import configure_logs
from extender.serve import serve
from extender.settings import read_settings
from gpu_topology.errors import SettingsError


def main(arguments: Sequence[str]) -> int:
    """Run the extender until it is told to stop.

    Args:
        arguments: the command line without the program's name.

    Returns:
        the exit status: 0 after SIGTERM or SIGINT, 2 where a setting cannot be used.
    """
    try:
        settings = read_settings(arguments)
        configure_logs(settings.log_level, settings.log_format)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except SettingsError as error:
        sys.stderr.write(f"extender: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
