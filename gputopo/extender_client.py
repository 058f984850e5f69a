"""Asks a running extender."""

from typing import Any, Final

import httpx
import orjson

from gpu_topology.errors import SourceError
from gputopo.access import CannotAskError

_SECONDS: Final = 10.0
"""How long the extender may take: it judges every node of the cluster, or shows it."""


def ask(url: str, path: str) -> dict[str, Any]:
    """The document that an extender has at a path, such as "/v1/cluster".

    Raises:
        CannotAskError: it cannot be reached, is not ready, or is no extender.
        SourceError: it has no such document; the message is its own.
    """
    try:
        answer = httpx.get(f"{url.rstrip('/')}{path}", timeout=_SECONDS, trust_env=False)
        document = orjson.loads(answer.content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CannotAskError(f"the extender at {url} cannot be asked: {error}") from error
    except orjson.JSONDecodeError as error:
        raise CannotAskError(f"{url} is no extender: its answer is not JSON") from error
    if not isinstance(document, dict):
        raise CannotAskError(f"{url} is no extender: its answer is not an object")
    if not answer.is_success:
        kind = SourceError if answer.status_code == httpx.codes.NOT_FOUND else CannotAskError
        raise kind(str(document.get("detail", f"the extender at {url} answered {answer.status_code}")))
    return document
