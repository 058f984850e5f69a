"""The real extender as a process that binds pods, asked as kube-scheduler asks it."""

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.control_plane.client import Object
from tests.control_plane.cluster import ControlPlane
from tests.control_plane.ports import LOOPBACK, free_ports
from tests.control_plane.processes import ChildProcess

PATIENCE_SECONDS = 30.0
"""For a pod that cannot be bound yet: the books may have to hear first that others have left."""


class NotBoundError(Exception):
    """The extender does not bind a pod at this moment; it says why."""


class BindingExtender:
    """`python -m extender --bind` beside a running control plane; a context manager."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        verbs, probes = free_ports(2)
        self._probes = f"http://{LOOPBACK}:{probes}"
        self._http = httpx.Client(base_url=f"http://{LOOPBACK}:{verbs}", trust_env=False)
        options = ["--verbs-port", str(verbs), "--probes-host", LOOPBACK, "--probes-port", str(probes), "--bind"]
        command = [sys.executable, "-m", "extender", "--kubeconfig", str(control_plane.kubeconfig()), *options]
        self._process = ChildProcess("extender", command, log=folder / "extender.log", ready=self._ready)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self._process)
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
        text = httpx.get(f"{self._probes}/metrics", trust_env=False).raise_for_status().text
        counted = Counter({"agree": 0, "differ": 0})
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == metric:
                    counted[sample.labels["outcome"]] += int(sample.value)
        return dict(counted)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self._probes}/readyz", trust_env=False).is_success
        except httpx.TransportError:
            return False
