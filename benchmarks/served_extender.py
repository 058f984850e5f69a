"""The extender behind real HTTP on a loopback port, in this process, with books that are filled by hand."""

import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import uvicorn
from starlette.types import ASGIApp

from extender.app import create_app
from extender.service import Service
from extender.transport import OnePieceProtocol

LOOPBACK = "127.0.0.1"
START_SECONDS = 10.0


def served(service: Service, port: int = 0) -> AbstractContextManager[str]:
    """Serve verbs, probes and metrics while the block runs: see `serving`."""
    return serving(create_app(service), port)


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Serve in a thread of its own while the block runs; yields the URL.

    The ledger is not for several threads: change it only between two requests.

    Args:
        app: of `extender.app`.
        port: where to listen; 0: any free port.
    """
    with socket.create_server((LOOPBACK, port)) as listener:
        server = uvicorn.Server(_configured(app))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


def configuration(service: Service) -> uvicorn.Config:
    """What uvicorn is told: the transport that the shipped extender uses, and no logs of its own."""
    return _configured(create_app(service))


def _configured(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(app, http=OnePieceProtocol, lifespan="off", log_config=None, access_log=False)
