"""The part of an API server that binding needs, in memory. It obeys the contract test in test_pod_api.py."""

import asyncio
from collections import deque
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from kubernetes_api import ApiError, ConflictError, NotFoundError

Pod = dict[str, Any]


class FakePodApi:
    """Pods that can be looked up and bound.

    Attributes:
        bindings: how often a binding was asked for.
        lost: what happens to the next bindings, one each: True: it works but the answer is lost; False: neither.
        away: whether no look-up is answered.
        gate: bindings wait until it is set.
    """

    def __init__(self, *pods: Pod) -> None:
        self._pods = {(pod["metadata"]["namespace"], pod["metadata"]["name"]): deepcopy(pod) for pod in pods}
        self.bindings = 0
        self.lost: deque[bool] = deque()
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    def create(self, pod: Pod) -> None:
        self._pods[pod["metadata"]["namespace"], pod["metadata"]["name"]] = deepcopy(pod)

    def delete(self, namespace: str, name: str) -> None:
        del self._pods[namespace, name]

    def change(self, namespace: str, name: str, **status: Any) -> None:
        self._pods[namespace, name]["status"] |= status

    def pods(self) -> list[Pod]:
        return deepcopy(list(self._pods.values()))

    async def get_pod(self, namespace: str, name: str) -> Pod:
        if self.away:
            raise ApiError("the API server is away")
        return deepcopy(self._pod(namespace, name))

    async def bind_pod(  # noqa: PLR0913  what a Binding has
        self, namespace: str, name: str, *, uid: str, node: str, annotations: Mapping[str, str], seconds: float
    ) -> None:
        self.bindings += 1
        async with asyncio.timeout(seconds):
            await self.gate.wait()
        works = self.lost.popleft() if self.lost else None
        if works is not False:
            self._bind(self._pod(namespace, name), uid, node, annotations)
        if works is not None:
            raise ApiError("TimeoutError")

    def _bind(self, pod: Pod, uid: str, node: str, annotations: Mapping[str, str]) -> None:
        if pod["metadata"]["uid"] != uid:
            raise ConflictError("the UID in the precondition does not match the UID in record", 409)
        if pod["spec"].get("nodeName") or "deletionTimestamp" in pod["metadata"]:
            raise ConflictError("pod is already assigned to a node, or is being deleted", 409)
        pod["spec"]["nodeName"] = node
        pod["metadata"].setdefault("annotations", {}).update(annotations)
        pod["status"]["conditions"] = [{"type": "PodScheduled", "lastTransitionTime": "2026-01-01T00:00:00Z"}]

    def _pod(self, namespace: str, name: str) -> Pod:
        try:
            return self._pods[namespace, name]
        except KeyError:
            raise NotFoundError(f'pods "{name}" not found', 404) from None
