"""The agent's log: on stderr, so that stdout is what `--print` prints."""

import logging
import sys

import structlog


def configure(level: str, log_format: str) -> None:
    """Set the log up for the whole process.

    Args:
        level: "debug", "info", "warning" or "error".
        log_format: "json", one object a line, or "console", for a person to read.
    """
    renderer = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
