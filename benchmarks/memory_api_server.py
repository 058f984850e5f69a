"""`python -m benchmarks.memory_api_server`: what an extender asks of an API server, about a large cluster, over HTTP.

Lists in pages, watches that are resumed and end, and nothing else. Field selectors are not looked at: all pods are
bound. Objects are made page by page as they are sent, so that this process stays small beside the one it serves.
"""

import asyncio
import sys
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from benchmarks.memory_cluster import Change, ChangingCluster, NodeRow, rendered
from benchmarks.memory_objects import PodRow
from benchmarks.served_extender import LOOPBACK

BATCH: Final = 20
"""Events that are sent at a time, while there are more."""

_EXPIRED: Final = {"kind": "Status", "code": 410, "message": "this version is no longer kept"}

_Row = tuple[int, NodeRow | PodRow]


class ApiServer:
    """Answers lists and watches of one cluster."""

    def __init__(self, cluster: ChangingCluster) -> None:
        self._cluster = cluster
        self._changed = asyncio.Condition()
        self._expirations = 0
        self._snapshots: dict[str, tuple[int, Sequence[_Row]]] = {}

    async def change(self, count: int) -> Response:
        """Let the cluster change; answered with what marks the end of the changes."""
        mark = self._cluster.change(count)
        async with self._changed:
            self._changed.notify_all()
        return _json(mark._asdict())

    async def expire(self) -> Response:
        """End all watches as an API server does that no longer keeps their versions: everything is listed again."""
        self._expirations += 1
        async with self._changed:
            self._changed.notify_all()
        return Response("ok")

    async def nodes(self, request: Request) -> Response:
        """List or watch the nodes."""
        return self._answer("nodes", self._cluster.nodes, self._cluster.node_changes, request.query_params)

    async def pods(self, request: Request) -> Response:
        """List or watch the pods."""
        return self._answer("pods", self._cluster.pods, self._cluster.pod_changes, request.query_params)

    def _answer(
        self, resource: str, rows: Mapping[Any, _Row], changes: Sequence[Change], query: Mapping[str, str]
    ) -> Response:
        if query.get("watch") != "true":
            return self._list(resource, rows, int(query.get("limit", "500")), query.get("continue", ""))
        events = self._events(changes, int(query["resourceVersion"]), float(query["timeoutSeconds"]))
        return StreamingResponse(events, media_type="application/json")

    def _list(self, resource: str, rows: Mapping[Any, _Row], limit: int, token: str) -> Response:
        """A page; all pages are of the moment at which the first one was asked for."""
        if not token:
            self._snapshots[resource] = self._cluster.version, list(rows.values())
        version, snapshot = self._snapshots[resource]
        asked, _, offset = token.partition("/")
        if token and int(asked) != version:
            return _json(_EXPIRED, status=410)
        end = int(offset or 0) + limit
        rest = f"{version}/{end}" if end < len(snapshot) else ""
        items = [rendered(row, each) for each, row in snapshot[end - limit : end]]
        return _json({"metadata": {"resourceVersion": str(version), "continue": rest}, "items": items})

    async def _events(self, changes: Sequence[Change], version: int, seconds: float) -> AsyncIterator[bytes]:
        """What has changed since a version, and what changes from then on, until the time is over."""
        deadline = time.monotonic() + seconds
        expirations = self._expirations
        position = bisect_right(changes, version, key=lambda change: change.version)
        while (left := deadline - time.monotonic()) > 0:
            if self._expirations != expirations:
                yield orjson.dumps({"type": "ERROR", "object": _EXPIRED}) + b"\n"
                return
            if batch := changes[position : position + BATCH]:
                position += len(batch)
                yield b"".join(_event(change) for change in batch)
            else:
                await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait()
        except TimeoutError:
            pass


def _event(change: Change) -> bytes:
    return orjson.dumps({"type": change.kind, "object": rendered(change.row, change.version)}) + b"\n"


def _json(document: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, media_type="application/json")


def create_app(cluster: ChangingCluster) -> FastAPI:
    """The server; what it does not know, such as device classes, is answered with 404, as by an API server."""
    server = ApiServer(cluster)
    app = FastAPI(openapi_url=None)
    app.get("/api/v1/nodes", response_model=None)(server.nodes)
    app.get("/api/v1/pods", response_model=None)(server.pods)
    app.post("/changes/{count}", response_model=None)(server.change)
    app.post("/expiration", response_model=None)(server.expire)
    app.get("/readyz", response_model=None)(_ready)
    return app


async def _ready() -> Response:
    return Response("ok")


def main(arguments: Sequence[str]) -> None:
    """Serve until told to stop.

    Args:
        arguments: the port, and the numbers of nodes, of pods, and of those that have GPUs.
    """
    port, nodes, pods, gpu_pods = map(int, arguments)
    app = create_app(ChangingCluster(nodes, pods, gpu_pods))
    uvicorn.run(
        app,
        host=LOOPBACK,
        port=port,
        http="httptools",
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
