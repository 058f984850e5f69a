"""A kubelet's PodResources server on a unix socket, which says what the test lets it say."""

from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio

from topology_agent.kubelet.podresources_pb2 import (
    AllocatableResourcesRequest,
    AllocatableResourcesResponse,
    ContainerDevices,
    ContainerResources,
    ListPodResourcesRequest,
    ListPodResourcesResponse,
    PodResources,
)

GPUS = "nvidia.com/gpu"


class FakeKubelet:
    """Start it, let it say something, stop it and start it again: as a kubelet that restarts.

    As the real one it gives one entry per device, and makes its socket anew with every start.

    Attributes:
        pods: "<namespace>/<name>" to its containers and their device ids.
        allocatable: the ids of the healthy devices.
        refuses: the status with which every call is refused, or None.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.pods: dict[str, dict[str, list[str]]] = {}
        self.allocatable: list[str] = []
        self.resource = GPUS
        self.refuses: grpc.StatusCode | None = None
        self._server: Any = None

    async def start(self) -> None:
        self._server = grpc.aio.server()
        methods = {
            "List": grpc.unary_unary_rpc_method_handler(
                self._list, ListPodResourcesRequest.FromString, ListPodResourcesResponse.SerializeToString
            ),
            "GetAllocatableResources": grpc.unary_unary_rpc_method_handler(
                self._get_allocatable,
                AllocatableResourcesRequest.FromString,
                AllocatableResourcesResponse.SerializeToString,
            ),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("v1.PodResourcesLister", methods),))
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(None)
        self.socket.unlink(missing_ok=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _list(self, _: ListPodResourcesRequest, context: Any) -> ListPodResourcesResponse:
        await self._refuse(context)
        return ListPodResourcesResponse(
            pod_resources=[
                PodResources(
                    namespace=pod.split("/")[0],
                    name=pod.split("/")[1],
                    containers=[
                        ContainerResources(name=container, devices=self._devices(ids))
                        for container, ids in containers.items()
                    ],
                )
                for pod, containers in self.pods.items()
            ]
        )

    async def _get_allocatable(self, _: AllocatableResourcesRequest, context: Any) -> AllocatableResourcesResponse:
        await self._refuse(context)
        return AllocatableResourcesResponse(devices=self._devices(self.allocatable))

    def _devices(self, ids: list[str]) -> list[ContainerDevices]:
        ours = [ContainerDevices(resource_name=self.resource, device_ids=[device]) for device in ids]
        return [*ours, ContainerDevices(resource_name="example.com/nic", device_ids=["nic0"])]

    async def _refuse(self, context: Any) -> None:
        if self.refuses is not None:
            await context.abort(self.refuses, "rejected by rate limit")
