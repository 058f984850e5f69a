"""Evicts pods that hold lost GPUs and ask for it: sees to the right, the freshness and the telling.

Whom and when is decided in `extender.gpu_loss`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog

from extender.clock import utc_now
from extender.failing import REPORTER
from extender.gpu_loss import MOST_TRIES, Loss, LossBook, Outcome, is_hit, is_storm, losses_on
from extender.leadership import Leadership, LeaseApi
from extender.ledger import Ledger
from extender.pods import BoundPod, PodIdentity, bound_pod_of
from gpu_topology.errors import WishError
from gpu_topology.request import ON_GPU_LOSS_ANNOTATION, OnGpuLoss, on_gpu_loss_of
from kubernetes_api import ApiError, ConflictError, DeferredError, NodeEvent, NotFoundError, PodReference

LOOK_SECONDS: Final = 1.0
"""Between two looks at the books."""
STANDBY: Final = timedelta(seconds=5)
"""Between two questions of a standby whether it leads by now."""
AGENT_NAMESPACE: Final = "gpu-topology-agent"

_log = structlog.get_logger("extender")

Tell = Callable[[PodReference, NodeEvent], None]
"""Takes an event about a pod, to be written when there is time."""


class EvictionApi(LeaseApi, Protocol):
    """What is needed of `kubernetes_api.Cluster`."""

    async def evict_pod(self, namespace: str, name: str, *, uid: str) -> None:
        """Evict a pod; raises `NotFoundError`, `ConflictError`, `DeferredError`, `ApiError`."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A pod that asks to be evicted if it loses a GPU.

    Attributes:
        has_controller: whether somebody will replace it.
    """

    pod: BoundPod
    has_controller: bool


class Evictor:
    """Follows the pods that ask to be evicted where they lose a GPU, and evicts those that do.

    A `kubernetes_api.Handler` of pods.

    Attributes:
        counted: what came of the tries.

    Args:
        ledger: the books.
        api: the API server.
        book: says who is to be evicted.
        leadership: says whether we may.
        tell: takes the events.
        agent_namespace: of the agents' leases.
        clock: returns the present time, with its zone.
    """

    def __init__(  # noqa: PLR0913  each names one thing beside which it stands
        self,
        ledger: Ledger,
        api: EvictionApi,
        book: LossBook,
        leadership: Leadership,
        *,
        tell: Tell,
        agent_namespace: str = AGENT_NAMESPACE,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.counted: Counter[Outcome] = Counter()
        self._ledger = ledger
        self._api = api
        self._book = book
        self._leadership = leadership
        self._tell = tell
        self._agent_namespace = agent_namespace
        self._clock = clock
        self._candidates: dict[str, _Candidate] = {}
        self._stands_by_until = clock()
        self._is_storm = False
        self._told: set[str] = set()

    def replaced(self, objects: list[dict[str, Any]]) -> None:
        """These are all the pods."""
        self._candidates.clear()
        for obj in objects:
            self.changed(obj)

    def changed(self, obj: dict[str, Any]) -> None:
        """A pod was added or changed."""
        uid = str(obj["metadata"].get("uid") or "")
        candidate = _candidate_of(obj)
        if candidate is None or not uid:
            self._candidates.pop(uid, None)
        else:
            self._candidates[uid] = candidate

    def deleted(self, obj: dict[str, Any]) -> None:
        """A pod is gone."""
        self._candidates.pop(str(obj["metadata"].get("uid") or ""), None)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Evict whom it is time to evict: one after the other, since much may change while the API server answers."""
        while (loss := self._first_due()) is not None and await self._may_act():
            if await self._is_fresh(loss):
                await self._evict(loss)
            else:
                self._book.doubt(loss.pod.identity.uid)

    def _first_due(self) -> Loss | None:
        now = self._clock()
        self._book.keep_only(self._candidates)
        self._told &= self._candidates.keys()
        self._book.see(self._losses(), now)
        return next(iter(self._book.due(now)), None)

    async def _may_act(self) -> bool:
        """Whether our scheduler leads; one that does not is not asked about again at once."""
        if self._clock() < self._stands_by_until:
            return False
        leads = await self._leadership.leads()
        if not leads:
            self._stands_by_until = self._clock() + STANDBY
        return leads

    def _losses(self) -> list[Loss]:
        """The losses of pods that ask to be evicted; none while a storm is on."""
        if not self._candidates:
            return []
        pages = [(name, page) for name in self._ledger.nodes if (page := self._ledger.book(name)) and is_hit(page)]
        self._note_storm(len(pages))
        if self._is_storm:
            return []
        on = [(page, [each.pod for each in self._candidates.values() if each.pod.node == name]) for name, page in pages]
        return [loss for page, pods in on for loss in losses_on(page, pods)]

    def _note_storm(self, hit: int) -> None:
        nodes = self._ledger.count_gpu_nodes()
        was, self._is_storm = self._is_storm, is_storm(hit, nodes)
        if self._is_storm and not was:
            _log.warning("pods hold lost GPUs on so many nodes that nobody is evicted", nodes=hit, of=nodes)
        elif was and not self._is_storm:
            _log.info("pods that lose a GPU are evicted again", nodes=hit, of=nodes)

    async def _is_fresh(self, loss: Loss) -> bool:
        """Whether the agent lives whose report it is, and has done so since the pod was bound.

        A report names pods, and not always with their UID. One that was written before the pod came speaks of an
        earlier pod of its name, and nothing but the agent's lease tells when it was written.
        """
        node, bound_at = loss.pod.node, loss.pod.scheduled_at
        try:
            lease = await self._api.get_lease(self._agent_namespace, node)
        except ApiError as error:
            _log.warning("not evicted: not known whether the agent lives", pod=loss.pod.identity.key, error=str(error))
            return False
        has_seen_it = lease.renewed_at is not None and (
            not bound_at or lease.renewed_at >= datetime.fromisoformat(bound_at)
        )
        if not lease.is_held(self._clock()) or not has_seen_it:
            _log.warning("not evicted: the agent's report may be old", pod=loss.pod.identity.key, node=node)
            return False
        return True

    async def _evict(self, loss: Loss) -> None:
        pod = loss.pod.identity
        candidate = self._candidates.get(pod.uid)
        if candidate is None:
            return  # gone while the API server was asked
        problem = "" if candidate.has_controller else "it has no controller that would replace it"
        outcome = Outcome.UNCONTROLLED
        if candidate.has_controller:
            outcome, problem = await self._try(pod)
        self.counted[outcome] += 1
        again = self._book.note(pod.uid, outcome, self._clock())
        self._report(loss, outcome, problem, again=again)

    async def _try(self, pod: PodIdentity) -> tuple[Outcome, str]:
        """What came of it, and the API server's objection."""
        namespace, _, name = pod.key.partition("/")
        try:
            await self._api.evict_pod(namespace, name, uid=pod.uid)
        except (NotFoundError, ConflictError) as error:
            return Outcome.GONE, str(error)
        except DeferredError as error:
            return Outcome.REFUSED, str(error)
        except ApiError as error:
            return Outcome.FAILED, str(error)
        return Outcome.EVICTED, ""

    def _report(self, loss: Loss, outcome: Outcome, problem: str, *, again: bool) -> None:
        """To the log each time; to who looks at the pod: that it was evicted, or why not, at first and at last."""
        pod = loss.pod.identity
        log = _log.info if outcome is Outcome.GONE else _log.warning
        log("lost GPU", pod=pod.key, node=loss.pod.node, gpus=dict(loss.gpus), outcome=outcome, error=problem or None)
        namespace, _, name = pod.key.partition("/")
        about = PodReference(namespace, name, pod.uid)
        if outcome is Outcome.EVICTED:
            note = f"{_what(loss)}: evicted so that its controller can replace it"
            self._tell(about, NodeEvent("GpuLost", "Evicted", note, is_warning=True, reporter=REPORTER))
        elif outcome is not Outcome.GONE and (not again or pod.uid not in self._told):
            self._told.add(pod.uid)
            note = f"{_what(loss)}: not evicted: {problem}{_outlook(outcome, again=again)}"
            self._tell(about, NodeEvent("GpuLost", "NotEvicted", note, is_warning=True, reporter=REPORTER))


def _candidate_of(pod: dict[str, Any]) -> _Candidate | None:
    """A pod that asks to be evicted where it loses a GPU; None if it does not, has no GPU, or is being deleted."""
    metadata = pod["metadata"]
    if "annotations" not in metadata or metadata.get("deletionTimestamp"):
        return None
    if ON_GPU_LOSS_ANNOTATION not in (metadata["annotations"] or {}):
        return None
    try:
        wanted = on_gpu_loss_of(pod)
    except WishError:
        return None  # filter has said so
    bound = bound_pod_of(pod)
    if wanted is not OnGpuLoss.EVICT or bound is None:
        return None
    owners = metadata.get("ownerReferences") or ()
    return _Candidate(bound, any(owner.get("controller") is True for owner in owners))


def _what(loss: Loss) -> str:
    return "; ".join(f"{name} of this pod was lost ({why})" for name, why in loss.gpus.items())


def _outlook(outcome: Outcome, *, again: bool) -> str:
    if again:
        return "; it is tried again"
    return "" if outcome is Outcome.UNCONTROLLED else f"; given up after {MOST_TRIES} tries"
