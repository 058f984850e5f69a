"""HTTP: the only file that knows FastAPI.

kube-scheduler drops the body of every answer that is not 200, so whatever a person should read about a pod is said in a
200: see `extender.service`. Only a body that is not JSON is answered with 422.
"""

from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from extender.explain import unexplained
from extender.service import Service
from extender.wire import UnreadableError


def create_app(service: Service) -> FastAPI:
    """Everything on one listener: the verbs, the probes and the metrics."""
    return _app(_verbs(service), _accounts(service), _probes(service))


def create_verbs_app(service: Service) -> FastAPI:
    """POST /filter, /prioritize, /preempt and perhaps /bind, for kube-scheduler, and GET /v1/..., for people.

    All of them are for the same host alone.
    """
    return _app(_verbs(service), _accounts(service))


def create_probes_app(service: Service) -> FastAPI:
    """GET /healthz, /readyz and /metrics, for the kubelet and Prometheus."""
    return _app(_probes(service))


def _app(*routers: APIRouter) -> FastAPI:
    app = FastAPI(title="gpu-topology-scheduler extender", openapi_url=None)
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(UnreadableError, _unreadable)
    app.add_exception_handler(ClientDisconnect, _gone)
    return app


def _verbs(service: Service) -> APIRouter:
    router = APIRouter()

    async def answer(request: Request, verb: Callable[[bytes], bytes]) -> Response:
        body = await _body(request, service.max_request_bytes)
        return Response(verb(body), media_type="application/json")

    @router.post("/filter")
    async def filter_verb(request: Request) -> Response:
        return await answer(request, service.filter)

    @router.post("/prioritize")
    async def prioritize_verb(request: Request) -> Response:
        return await answer(request, service.prioritize)

    @router.post("/preempt")
    async def preempt_verb(request: Request) -> Response:
        return await answer(request, service.preempt)

    if service.binds:

        @router.post("/bind")
        async def bind_verb(request: Request) -> Response:
            answer = await service.bind(await _body(request, service.max_request_bytes))
            return Response(answer, media_type="application/json")

    return router


def _accounts(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/nodes/{name}")
    async def node(name: str) -> Response:
        account = service.account_of(name)
        if account is None:
            return JSONResponse({"detail": f"the books have no node {name[:253]}"}, status_code=404)
        return JSONResponse(account)

    @router.get("/v1/explain/{namespace}/{pod}")
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


async def _body(request: Request, limit: int) -> bytes:
    """The body of a request, or one byte more than the limit of one that is longer.

    The rest of a longer one is read and dropped: a client that is still sending would not see the answer.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk[: limit + 1 - len(body)]
    return bytes(body)


async def _unreadable(_request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status_code=422)


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client hung up while it sent its request: nobody reads this."""
    return Response(status_code=400)
