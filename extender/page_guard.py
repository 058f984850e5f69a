"""What stands between the page's listener and those who call it: read only, by a token, with a strict browser."""

from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extender.page_token import PageToken
from gpu_topology.errors import SettingsError

DATA: Final = "/v1/"
"""What is behind the token. The page itself, its scripts and styles, holds nothing that is secret."""

SECURITY_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_log = structlog.get_logger("extender")


class PageGuard:
    """ASGI middleware: GET and HEAD only, data only for those who show the token, security headers on every answer.

    Args:
        app: gets what passes.
        token: lets people in.
    """

    def __init__(self, app: ASGIApp, token: PageToken) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. See the ASGI specification."""
        if scope["type"] != "http":
            return  # no WebSockets: the server refuses the handshake
        is_data = scope["path"].startswith(DATA)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS | {"cache-control": "no-store" if is_data else "no-cache"})
            await send(message)

        answer = self._refusal(scope) if is_data or scope["method"] not in ("GET", "HEAD") else None
        await (answer or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """What to answer instead; None for a request that is in order."""
        if scope["method"] not in ("GET", "HEAD"):
            return JSONResponse({"detail": "this is for reading only"}, 405, {"allow": "GET, HEAD"})
        shown = Headers(scope=scope).get("authorization", "")
        try:
            if self._token.admits(shown):
                return None
        except SettingsError as error:
            _log.warning("the page's token cannot be read", error=str(error))
            return JSONResponse({"detail": "the extender has no token to compare with: see its log"}, 503)
        said = "the token is not the right one" if shown else "this takes a token: Authorization: Bearer <token>"
        return JSONResponse({"detail": said}, 401, {"www-authenticate": 'Bearer realm="gpu-scheduler"'})
