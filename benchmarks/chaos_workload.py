"""Pods of 1, 2, 4 and 8 GPUs that come, run a while and go, whatever happens to the cluster meanwhile."""

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from tests.control_plane.client import ApiError, Client
from tests.control_plane.objects import pod

SIZES: Final = (1, 1, 1, 1, 2, 2, 2, 4, 4, 8)
LOAD: Final = 0.75
"""The share of all GPUs that pods ask for at a time, at most."""
PAUSE_SECONDS: Final = 0.15
"""Between one pod and the next: ten times as long as kube-scheduler takes to place one."""
HURRY_SECONDS: Final = 4.0
"""A pod that has waited so long lets others end before their time: no node has as many GPUs free, perhaps."""
PATIENCE_SECONDS: Final = 90.0
"""A pod that has waited so long is stuck. Longer than everything takes to come back, and than kube-scheduler's longest
backoff of 10 s; much shorter than the 5 minutes after which it tries a forgotten pod again."""
RETRY_SECONDS: Final = 90.0
"""How long a request is tried again while the API server is away."""


class Workload:
    """A stream of pods.

    Attributes:
        stuck: the names of the pods that have waited longer than `PATIENCE_SECONDS`.

    Args:
        client: for this alone.
        is_bound: says whether a pod, by its name, has been seen bound.
        gpus: of the whole cluster.
        seed: of the sizes.
    """

    def __init__(self, client: Client, is_bound: Callable[[str], bool], gpus: int, seed: int) -> None:
        self.stuck: set[str] = set()
        self._client = client
        self._is_bound = is_bound
        self._gpus = gpus
        self._random = Random(seed)
        self._waiting: dict[str, float] = {}
        self._live: deque[tuple[str, int]] = deque()
        self._pace = threading.Event()

    def run(self, pods: int) -> None:
        """Send so many pods; returns when each has been bound, or is stuck. The last ones stay."""
        for number in range(pods):
            size = self._random.choice(SIZES)
            while self._asked + size > LOAD * self._gpus:
                self._step()
            name = f"pod-{number}"
            _insist(partial(self._create, name, size))
            self._waiting[name] = time.monotonic()
            self._live.append((name, size))
            self._step(end_one=False)
        while self._waiting:
            self._step()

    @property
    def _asked(self) -> int:
        return sum(size for _, size in self._live)

    def _step(self, *, end_one: bool = True) -> None:
        """Let some time pass; then, where asked to or where a pod waits for long, the oldest one that runs ends."""
        self._pace.wait(PAUSE_SECONDS)
        now = time.monotonic()
        self._waiting = {name: since for name, since in self._waiting.items() if not self._is_bound(name)}
        self.stuck.update(name for name, since in self._waiting.items() if now - since > PATIENCE_SECONDS)
        for name in self.stuck & self._waiting.keys():
            del self._waiting[name]
        in_a_hurry = any(now - since > HURRY_SECONDS for since in self._waiting.values())
        full = self._asked > LOAD * self._gpus - max(SIZES)
        if in_a_hurry or (end_one and full):
            self._end_the_oldest()

    def _end_the_oldest(self) -> None:
        for entry in self._live:
            name, _ = entry
            if name not in self._waiting:
                _insist(partial(self._delete, name))
                self._live.remove(entry)
                return

    def _create(self, name: str, size: int) -> None:
        try:
            self._client.create(pod(name, gpus=size, scheduler_name="gpu-scheduler"))
        except ApiError as error:
            if error.status != httpx.codes.CONFLICT:  # else an earlier try was heard
                raise

    def _delete(self, name: str) -> None:
        try:
            self._client.delete("Pod", name)
        except ApiError as error:
            if error.status != httpx.codes.NOT_FOUND:  # else an earlier try was heard
                raise


def _insist(request: Callable[[], None]) -> None:
    """Send a request until it is answered."""
    for attempt in Retrying(
        retry=retry_if_exception(_is_passing), stop=stop_after_delay(RETRY_SECONDS), wait=wait_fixed(0.2), reraise=True
    ):
        with attempt:
            request()


def _is_passing(error: BaseException) -> bool:
    """Whether the API server is away or not quite back."""
    refused = isinstance(error, ApiError) and (
        error.status >= httpx.codes.INTERNAL_SERVER_ERROR
        or error.status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.FORBIDDEN)  # 403 until RBAC is loaded
    )
    return refused or isinstance(error, httpx.TransportError)
