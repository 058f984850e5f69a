"""One line an event on standard error, from this program and its libraries alike."""

import logging
import sys
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_COMMON: Final[tuple[Processor, ...]] = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure_logs(level: str, log_format: str) -> None:
    """Set up logging for this process.

    Libraries are heard from warning upwards only: every event that matters here is logged by this program itself.

    Args:
        level: the least severe of this program's events that are logged: debug, info, warning or error.
        log_format: json, one object a line, or console, aligned text for a person.
    """
    rendering: tuple[Processor, ...]
    if log_format == "json":
        rendering = (structlog.processors.format_exc_info, _json)
    else:
        rendering = (structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),)
    structlog.configure(
        processors=[*_COMMON, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_COMMON,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=_plain).decode()


def _plain(value: Any) -> str:
    """Text for what JSON has no form for: a log line with less is better than none."""
    return repr(value)
