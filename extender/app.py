"""HTTP: the only file that knows FastAPI.

kube-scheduler drops the body of every answer that is not 200, so whatever a person should read about a pod is said in a
200: see `extender.service`. Only a body that is not JSON is answered with 422.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from extender.explain import unexplained
from extender.overview_answers import OverviewAnswer
from extender.page_guard import PageGuard
from extender.page_token import PageToken
from extender.service import Service
from extender.wire import UnreadableError

_JSON: Final = "application/json"
_READING: Final = ["GET", "HEAD"]

Verb: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""From the bytes of a request to those of its answer."""


def create_app(service: Service) -> ASGIApp:
    """Everything on one listener: the verbs, the probes and the metrics."""
    return _Verbs(_app(_accounts(service), _probes(service)), service)


def create_verbs_app(service: Service) -> ASGIApp:
    """POST /filter, /prioritize, /preempt and perhaps /bind, for kube-scheduler, and GET /v1/..., for people.

    All of them are for the same host alone.
    """
    return _Verbs(_app(_accounts(service)), service)


def create_probes_app(service: Service) -> ASGIApp:
    """GET /healthz, /readyz and /metrics, for the kubelet and Prometheus."""
    return _app(_probes(service))


def create_page_app(service: Service, token: PageToken) -> ASGIApp:
    """The page for people, and the data that it shows, GET /v1/..., for those who show the token."""
    app = _app(_accounts(service))
    app.mount("/", StaticFiles(packages=[("extender", "page")], html=True))
    return PageGuard(app, token)


def _app(*routers: APIRouter) -> FastAPI:
    app = FastAPI(title="gpu-topology-scheduler extender", openapi_url=None)
    for router in routers:
        app.include_router(router)
    return app


class _Verbs:
    """Answers the verbs before FastAPI sees them: its routing would take as long as the decision.

    Args:
        app: gets all other requests.
        service: decides.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._limit = service.max_request_bytes
        self._verbs: dict[str, Verb] = {
            "/filter": _at_once(service.filter),
            "/prioritize": _at_once(service.prioritize),
            "/preempt": _at_once(service.preempt),
        }
        if service.binds:
            self._verbs["/bind"] = service.bind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. See the ASGI specification."""
        verb = self._verbs.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if verb is None:
            await self._app(scope, receive, send)
            return
        body = await _body(receive, self._limit)
        if body is None:
            return  # nobody reads an answer
        try:
            answer = await verb(body)
        except UnreadableError as error:
            await JSONResponse({"detail": str(error)}, status_code=422)(scope, receive, send)
            return
        headers = [(b"content-type", _JSON.encode()), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def _at_once(verb: Callable[[bytes], bytes]) -> Verb:
    async def answer(body: bytes) -> bytes:
        return verb(body)

    return answer


def _accounts(service: Service) -> APIRouter:
    router = APIRouter()

    @router.api_route("/v1/cluster", methods=_READING)
    async def cluster(request: Request) -> Response:
        reason = service.unready_reason()
        if reason is not None:
            return JSONResponse({"detail": reason}, status_code=503)
        known = request.headers.get("if-none-match")
        answer = await service.overview(known)
        if answer is None:
            return Response(status_code=304, headers={"etag": str(known)})
        return _overview(answer, takes_gzip="gzip" in request.headers.get("accept-encoding", ""))

    @router.api_route("/v1/pods", methods=_READING)
    async def pods() -> Response:
        return JSONResponse(service.pods_asked_about())

    @router.api_route("/v1/nodes/{name}", methods=_READING)
    async def node(name: str) -> Response:
        account = service.account_of(name)
        if account is None:
            return JSONResponse({"detail": f"the books have no node {name[:253]}"}, status_code=404)
        return JSONResponse(account)

    @router.api_route("/v1/explain/{namespace}/{pod}", methods=_READING)
    async def explain(namespace: str, pod: str) -> Response:
        reason = service.unready_reason()
        if reason is not None:
            return JSONResponse({"detail": reason}, status_code=503)
        key = f"{namespace[:253]}/{pod[:253]}"
        explanation = service.explanation_of(key)
        if explanation is None:
            return JSONResponse({"detail": unexplained(key)}, status_code=404)
        return JSONResponse(explanation)

    return router


def _overview(answer: OverviewAnswer, *, takes_gzip: bool) -> Response:
    headers = {"etag": answer.tag, "vary": "accept-encoding", "cache-control": "no-cache"}
    if takes_gzip:
        return Response(answer.compressed, media_type=_JSON, headers=headers | {"content-encoding": "gzip"})
    return Response(answer.json, media_type=_JSON, headers=headers)


def _probes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> Response:
        return PlainTextResponse("ok")

    @router.get("/readyz")
    async def readyz() -> Response:
        reason = service.unready_reason()
        return PlainTextResponse("ok") if reason is None else PlainTextResponse(reason, status_code=503)

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The body of a request, or one byte more than the limit of one that is longer; None if the client hung up.

    The rest of a longer one is read and dropped: a client that is still sending would not see the answer.
    """
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")[: limit + 1 - len(body)]
        more = message.get("more_body", False)
    return bytes(body)
