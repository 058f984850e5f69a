"""`python -m topology_agent`: see `--help`, and the package's README."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

import structlog

from gpu_topology.errors import GpuTopologyError, SettingsError
from topology_agent import agent, logs
from topology_agent.settings import Settings, load_settings

FAILED = 1
UNUSABLE_SETTINGS = 2

_log = structlog.get_logger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run the agent until it is told to end. Returns the exit status: 0, 1 for a failure, 2 for unusable settings."""
    try:
        settings = load_settings(arguments)
        logs.configure(settings.log_level, settings.log_format)
        asyncio.run(_run_until_told(settings))
    except SettingsError as error:
        sys.stderr.write(f"topology_agent: {error}\n")
        return UNUSABLE_SETTINGS
    except GpuTopologyError as error:
        sys.stderr.write(f"topology_agent: {error}\n")
        return FAILED
    return 0


async def _run_until_told(settings: Settings) -> None:
    work = asyncio.ensure_future(agent.run(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with suppress(asyncio.CancelledError):
        await work
    if work.cancelled():
        _log.info("told to end")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
