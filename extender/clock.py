"""The one clock of the extender; whoever decides is handed it, or another one in a test."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present time, with its zone."""
    return datetime.now(UTC)
