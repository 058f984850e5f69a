"""What a Lease says: who holds it, and until when. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Lease:
    """A Lease as somebody else keeps it.

    Attributes:
        holder: its holder's identity; "" where nobody holds it.
        renewed_at: when the holder renewed it last, by the holder's clock; None where it never did.
        duration: how long a renewal is good for.
    """

    holder: str
    renewed_at: datetime | None
    duration: timedelta

    def is_held(self, now: datetime) -> bool:
        """Whether it has not run out."""
        return bool(self.holder) and self.renewed_at is not None and now <= self.renewed_at + self.duration


def lease_of(obj: Mapping[str, Any]) -> Lease:
    """The Lease that an object of the API server is. The server has checked its fields, each of which may be absent."""
    spec = obj.get("spec") or {}
    renewed_at = spec.get("renewTime")
    return Lease(
        holder=spec.get("holderIdentity") or "",
        renewed_at=None if renewed_at is None else datetime.fromisoformat(renewed_at),
        duration=timedelta(seconds=spec.get("leaseDurationSeconds") or 0),
    )
