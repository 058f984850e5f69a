"""`python -m tests.kubelet.runtime SOCKET` serves CRI on a Unix socket until told to end, then ends all containers."""

import asyncio
import signal
import sys

import grpc.aio

from tests.kubelet.runtime.cri import handler
from tests.kubelet.runtime.images import ImageService
from tests.kubelet.runtime.service import RuntimeService


async def serve(socket: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    runtime = RuntimeService()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler("RuntimeService", runtime), handler("ImageService", ImageService())))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    await told_to_end.wait()
    await server.stop(grace=None)
    await runtime.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
