"""CRI's runtime service: pods and containers by id."""

import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.kubelet.runtime.containers import Container
from tests.kubelet.runtime.cri import NoSuchObjectError, messages

POD_ADDRESS = "127.0.0.1"


class RuntimeService:
    """What it runs, it runs for one kubelet, over all of that kubelet's restarts."""

    def __init__(self) -> None:
        self._sandboxes: dict[str, Any] = {}
        self._containers: dict[str, Container] = {}

    async def close(self) -> None:
        """End all containers."""
        for container in self._containers.values():
            await container.stop(grace_seconds=0)

    async def version(self, _: Any) -> Any:
        """Who we are."""
        return messages.VersionResponse(
            version="0.1.0", runtime_name="processes", runtime_version="1.0.0", runtime_api_version="v1"
        )

    async def status(self, _: Any) -> Any:
        """Always ready."""
        conditions = [messages.RuntimeCondition(type=name, status=True) for name in ("RuntimeReady", "NetworkReady")]
        return messages.StatusResponse(status=messages.RuntimeStatus(conditions=conditions))

    async def runtime_config(self, _: Any) -> Any:
        """The driver of the control groups, which nobody here uses."""
        linux = messages.LinuxRuntimeConfiguration(cgroup_driver=messages.CGROUPFS)
        return messages.RuntimeConfigResponse(linux=linux)

    async def update_runtime_config(self, _: Any) -> Any:
        """The pods' addresses, which nobody here uses."""
        return messages.UpdateRuntimeConfigResponse()

    async def run_pod_sandbox(self, request: Any) -> Any:
        """Make a pod without containers."""
        sandbox = messages.PodSandboxStatus(
            id=uuid4().hex,
            metadata=request.config.metadata,
            state=messages.SANDBOX_READY,
            created_at=time.time_ns(),
            network=messages.PodSandboxNetworkStatus(ip=POD_ADDRESS),
            labels=request.config.labels,
            annotations=request.config.annotations,
        )
        self._sandboxes[sandbox.id] = sandbox
        return messages.RunPodSandboxResponse(pod_sandbox_id=sandbox.id)

    async def stop_pod_sandbox(self, request: Any) -> Any:
        """End a pod's containers at once. Idempotent."""
        for container in self._containers_of(request.pod_sandbox_id):
            await container.stop(grace_seconds=0)
        if request.pod_sandbox_id in self._sandboxes:
            self._sandboxes[request.pod_sandbox_id].state = messages.SANDBOX_NOTREADY
        return messages.StopPodSandboxResponse()

    async def remove_pod_sandbox(self, request: Any) -> Any:
        """End and forget a pod and its containers. Idempotent."""
        for container in self._containers_of(request.pod_sandbox_id):
            await container.stop(grace_seconds=0)
            self._containers.pop(container.status.id, None)
        self._sandboxes.pop(request.pod_sandbox_id, None)
        return messages.RemovePodSandboxResponse()

    async def pod_sandbox_status(self, request: Any) -> Any:
        """One pod."""
        sandbox = self._sandboxes.get(request.pod_sandbox_id)
        if sandbox is None:
            raise NoSuchObjectError(f"There is no pod {request.pod_sandbox_id}.")
        return messages.PodSandboxStatusResponse(status=sandbox)

    async def list_pod_sandbox(self, request: Any) -> Any:
        """The pods that pass a filter."""
        return messages.ListPodSandboxResponse(
            items=[
                messages.PodSandbox(
                    id=sandbox.id,
                    metadata=sandbox.metadata,
                    state=sandbox.state,
                    created_at=sandbox.created_at,
                    labels=sandbox.labels,
                    annotations=sandbox.annotations,
                )
                for sandbox in self._sandboxes.values()
                if _passes(sandbox, request.filter)
            ]
        )

    async def create_container(self, request: Any) -> Any:
        """Make a container without starting it."""
        config = request.config
        status = messages.ContainerStatus(
            id=uuid4().hex,
            metadata=config.metadata,
            state=messages.CONTAINER_CREATED,
            created_at=time.time_ns(),
            image=config.image,
            image_ref=config.image.image,
            image_id=config.image.image,
            labels=config.labels,
            annotations=config.annotations,
            log_path=str(Path(request.sandbox_config.log_directory) / config.log_path),
        )
        self._containers[status.id] = Container(status, request.pod_sandbox_id, config)
        return messages.CreateContainerResponse(container_id=status.id)

    async def start_container(self, request: Any) -> Any:
        """Start a container's process."""
        await self._container(request.container_id).start()
        return messages.StartContainerResponse()

    async def stop_container(self, request: Any) -> Any:
        """End a container's process, after a grace in seconds by force. Idempotent."""
        if request.container_id in self._containers:
            await self._containers[request.container_id].stop(request.timeout)
        return messages.StopContainerResponse()

    async def remove_container(self, request: Any) -> Any:
        """End and forget a container. Idempotent."""
        container = self._containers.pop(request.container_id, None)
        if container is not None:
            await container.stop(grace_seconds=0)
        return messages.RemoveContainerResponse()

    async def container_status(self, request: Any) -> Any:
        """One container."""
        return messages.ContainerStatusResponse(status=self._container(request.container_id).status)

    async def list_containers(self, request: Any) -> Any:
        """The containers that pass a filter."""
        wanted = request.filter
        return messages.ListContainersResponse(
            containers=[
                messages.Container(
                    id=container.status.id,
                    pod_sandbox_id=container.sandbox,
                    metadata=container.status.metadata,
                    image=container.status.image,
                    image_ref=container.status.image_ref,
                    image_id=container.status.image_id,
                    state=container.status.state,
                    created_at=container.status.created_at,
                    labels=container.status.labels,
                    annotations=container.status.annotations,
                )
                for container in self._containers.values()
                if _passes(container.status, wanted) and wanted.pod_sandbox_id in ("", container.sandbox)
            ]
        )

    async def list_container_stats(self, _: Any) -> Any:
        """Nothing is measured."""
        return messages.ListContainerStatsResponse()

    def _container(self, container_id: str) -> Container:
        if container_id not in self._containers:
            raise NoSuchObjectError(f"There is no container {container_id}.")
        return self._containers[container_id]

    def _containers_of(self, sandbox: str) -> list[Container]:
        return [container for container in self._containers.values() if container.sandbox == sandbox]


def _passes(status: Any, wanted: Any) -> bool:
    """Whether a pod or container passes what the two kinds of filters have in common; what is unset lets all pass."""
    return (
        wanted.id in ("", status.id)
        and (not wanted.HasField("state") or wanted.state.state == status.state)
        and dict(wanted.label_selector).items() <= dict(status.labels).items()
    )
