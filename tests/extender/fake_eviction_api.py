"""The part of an API server that evicting needs, in memory. It obeys the contract test in test_eviction_api.py."""

from datetime import datetime, timedelta

from kubernetes_api import ApiError, ConflictError, DeferredError, Lease, NotFoundError


class FakeEvictionApi:
    """Pods that can be evicted, and leases.

    Attributes:
        pods: ("<namespace>", "<name>") to the UID, of the pods that are not being deleted.
        allowed: how many pods the disruption budget lets go; None: there is no budget.
        leases: ("<namespace>", "<name>") to the lease.
        asked: the UIDs of the evictions that were asked for.
        evicted: the UIDs of those that worked.
        away: whether nothing is answered.
    """

    def __init__(self) -> None:
        self.pods: dict[tuple[str, str], str] = {}
        self.allowed: int | None = None
        self.leases: dict[tuple[str, str], Lease] = {}
        self.asked: list[str] = []
        self.evicted: list[str] = []
        self.away = False

    def renew(self, namespace: str, name: str, at: datetime, holder: str = "agent", seconds: int = 180) -> None:
        self.leases[namespace, name] = Lease(holder, at, timedelta(seconds=seconds))

    async def evict_pod(self, namespace: str, name: str, *, uid: str) -> None:
        self.asked.append(uid)
        if self.away:
            raise ApiError("the API server is away")
        present = self.pods.get((namespace, name))
        if present is None:
            raise NotFoundError(f'pods "{name}" not found', 404)
        if present != uid:
            raise ConflictError("the UID in the precondition does not match the UID in record", 409)
        if self.allowed == 0:
            raise DeferredError("Cannot evict pod as it would violate the pod's disruption budget.", 429)
        if self.allowed is not None:
            self.allowed -= 1
        del self.pods[namespace, name]
        self.evicted.append(uid)

    async def get_lease(self, namespace: str, name: str) -> Lease:
        if self.away:
            raise ApiError("the API server is away")
        try:
            return self.leases[namespace, name]
        except KeyError:
            raise NotFoundError(f'leases.coordination.k8s.io "{name}" not found', 404) from None
