"""Whether the kube-scheduler beside this extender leads, by the lease that the schedulers compete for.

The two run in one pod, and so under one host name, with which kube-scheduler begins its identity in the lease:
"<host name>_<random UUID>" (k8s.io/kubernetes, cmd/kube-scheduler/app/server.go).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import structlog

from extender.clock import utc_now
from kubernetes_api import ApiError, Lease

NAMESPACE: Final = "gpu-scheduler"
NAME: Final = "gpu-scheduler"
"""The lease that config/scheduler-config.yaml names."""

_log = structlog.get_logger("extender")


class LeaseApi(Protocol):
    """What is needed of `kubernetes_api.Cluster`."""

    async def get_lease(self, namespace: str, name: str) -> Lease:
        """A lease; raises `NotFoundError`, `ApiError`."""


class Leadership:
    """Looks at the schedulers' lease.

    Args:
        api: the API server.
        host: this host's name.
        clock: returns the present time, with its zone.
    """

    def __init__(self, api: LeaseApi, host: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._api = api
        self._host = host
        self._clock = clock
        self._problem: str | None = None

    async def leads(self) -> bool:
        """Whether our scheduler leads at present. Where that cannot be known it does not, and the log says why."""
        try:
            lease = await self._api.get_lease(NAMESPACE, NAME)
        except ApiError as error:
            if str(error) != self._problem:
                _log.warning("not known whether this scheduler leads", error=str(error))
            self._problem = str(error)
            return False
        self._problem = None
        return lease.is_held(self._clock()) and lease.holder.rpartition("_")[0] == self._host
