"""What can go wrong between us and the API server."""

from gpu_topology.errors import SourceError


class ApiError(SourceError):
    """The API server refused a request, or could not be reached.

    Attributes:
        status: the HTTP status, or None where there was no answer.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(ApiError):
    """The object does not exist."""


class ExpiredError(ApiError):
    """The resource version that a watch was to resume from is no longer kept (410 Gone)."""
