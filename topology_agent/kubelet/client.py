"""The kubelet's PodResources API over its unix socket: the only file that knows gRPC."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

import grpc
import grpc.aio

from gpu_topology.errors import SourceError
from gpu_topology.request import GPU_RESOURCE
from gpu_topology.slices import is_slice_resource
from topology_agent.kubelet.listing import ContainerListing, Listing, Slice
from topology_agent.kubelet.podresources_pb2 import (
    AllocatableResourcesRequest,
    AllocatableResourcesResponse,
    ContainerDevices,
    ListPodResourcesRequest,
    ListPodResourcesResponse,
)

DEFAULT_SOCKET: Final = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
TIMEOUT_SECONDS: Final = 5.0
"""For one call. A kubelet answers within milliseconds; one that is busy admitting pods within some hundred."""
MOST_BYTES: Final = 16 * 2**20
"""Of one answer: what the kubelet's own client allows."""
_SERVICE: Final = "/v1.PodResourcesLister"


class KubeletBusyError(SourceError):
    """The kubelet is there, but answers no more questions for a moment: it takes 100 a second, from all who ask."""


class PodResourcesClient:
    """A connection to a kubelet, which comes back by itself when the kubelet does.

    Make it inside a running event loop; close it, or use it as an asynchronous context manager.
    """

    def __init__(self, socket: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._socket = socket
        self._timeout = timeout_seconds
        options = [
            ("grpc.max_receive_message_length", MOST_BYTES),
            # Backoff of the connection: the kubelet is back two seconds after it went, and we should be, too.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=options)
        self._list = self._channel.unary_unary(
            f"{_SERVICE}/List",
            request_serializer=ListPodResourcesRequest.SerializeToString,
            response_deserializer=ListPodResourcesResponse.FromString,
        )
        self._get_allocatable = self._channel.unary_unary(
            f"{_SERVICE}/GetAllocatableResources",
            request_serializer=AllocatableResourcesRequest.SerializeToString,
            response_deserializer=AllocatableResourcesResponse.FromString,
        )

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def read(self) -> Listing:
        """Ask the kubelet, with two calls.

        The healthy devices are asked for first: a GPU that is handed out between the calls counts as held.

        Raises:
            KubeletBusyError: it was asked too often of late.
            SourceError: it does not answer in time, or refuses.
        """
        try:
            incarnation = await asyncio.to_thread(_incarnation, self._socket)
            allocatable = await self._get_allocatable(AllocatableResourcesRequest(), timeout=self._timeout)
            listed = await self._list(ListPodResourcesRequest(), timeout=self._timeout)
        except OSError as error:
            raise SourceError(f"the kubelet's socket {self._socket} is not there: {error.strerror}") from error
        except grpc.aio.AioRpcError as error:
            kind = KubeletBusyError if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else SourceError
            raise kind(f"the kubelet answers {error.code().name}: {error.details()}") from error
        return Listing(
            _containers(listed), _gpu_devices(allocatable.devices), incarnation, _slices(allocatable.devices)
        )


def _incarnation(socket: Path) -> str:
    status = socket.stat()
    return f"{status.st_dev}:{status.st_ino}:{status.st_ctime_ns}"


def _containers(answer: ListPodResourcesResponse) -> tuple[ContainerListing, ...]:
    return tuple(
        ContainerListing(
            f"{pod.namespace}/{pod.name}", container.name, _gpu_devices(container.devices), _slices(container.devices)
        )
        for pod in answer.pod_resources
        for container in pod.containers
    )


def _gpu_devices(devices: Iterable[ContainerDevices]) -> tuple[str, ...]:
    """The ids of the devices under the resource of whole GPUs, in a stable order."""
    ours = (device for device in devices if device.resource_name == GPU_RESOURCE)
    return tuple(sorted({device_id for device in ours for device_id in device.device_ids}))


def _slices(devices: Iterable[ContainerDevices]) -> tuple[Slice, ...]:
    """The devices under resources of parts of GPUs, in a stable order."""
    ours = (device for device in devices if is_slice_resource(device.resource_name))
    return tuple(sorted({Slice(device.resource_name, device_id) for device in ours for device_id in device.device_ids}))
