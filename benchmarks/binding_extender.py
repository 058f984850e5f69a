"""The real extender as a process that binds pods, asked as kube-scheduler asks it."""

from collections import Counter
from contextlib import ExitStack
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.control_plane.client import Object
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.parts import extender

PATIENCE_SECONDS = 30.0
"""For a pod that cannot be bound yet: the books may have to hear first that others have left."""


class NotBoundError(Exception):
    """The extender does not bind a pod at this moment; it says why."""


class BindingExtender:
    """`python -m extender --bind` beside a running control plane; a context manager."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._extender = extender(control_plane, arguments=["--bind"])
        self._http = httpx.Client(base_url=self._extender.url, trust_env=False)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self._extender.process)
            starting.enter_context(self._http)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @retry(
        retry=retry_if_exception_type(NotBoundError),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    )
    def bind(self, pod: Object, node: str) -> None:
        """Bind a pod to a node, once it can be.

        Raises:
            NotBoundError: it cannot be for long; the message is the extender's.
        """
        metadata = pod["metadata"]
        asked = {
            "PodNamespace": metadata["namespace"],
            "PodName": metadata["name"],
            "PodUID": metadata["uid"],
            "Node": node,
        }
        error = self._http.post("/bind", json=asked).raise_for_status().json()["Error"]
        if error:
            raise NotBoundError(error)

    @retry(
        retry=retry_if_exception_type(NotBoundError),
        wait=wait_fixed(0.1),
        stop=stop_after_delay(PATIENCE_SECONDS),
        reraise=True,
    )
    def wait_until_known(self, node: str) -> None:
        """Wait until the books know a node's GPUs, so that sets of them can be recorded.

        Raises:
            NotBoundError: they do not for long; the message says what is missing.
        """
        account = self._http.get(f"/v1/nodes/{node}").json()
        if account.get("knowledge") != "known":
            raise NotBoundError(str(account))

    def outcomes(self, metric: str) -> dict[str, int]:
        """What one of its counters with the label `outcome` has come to, all other labels taken together."""
        text = httpx.get(f"{self._extender.probes_url}/metrics", trust_env=False).raise_for_status().text
        counted = Counter({"agree": 0, "differ": 0})
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == metric:
                    counted[sample.labels["outcome"]] += int(sample.value)
        return dict(counted)
