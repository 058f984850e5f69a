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


class ConflictError(ApiError):
    """The object is not as the request takes it to be: a pod is bound already, say, or is another one by now."""


class DeferredError(ApiError):
    """Not now (429): a disruption budget forbids an eviction, say, or the API server has too much to do."""


class ExpiredError(ApiError):
    """The resource version that a watch was to resume from is no longer kept (410 Gone)."""
