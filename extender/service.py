"""The verbs, from the bytes of a request to the bytes of its answer: decide, log, count.

This is the whole extender without HTTP and without a cluster; `extender.app` puts it behind HTTP::

    ledger = Ledger()
    ledger.replace_nodes(nodes)  # in the API server's JSON form
    app = create_app(Service(ledger))
"""

import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from extender import pod_story
from extender.account import account_of
from extender.arrivals import Arrivals
from extender.bind import Binder, BindError
from extender.clock import utc_now
from extender.decisions import Decisions, Filtered, Preempted, Prioritized
from extender.explain import explanation_of
from extender.failing import FailingNodes
from extender.filter import filter_nodes
from extender.ledger import Ledger
from extender.metrics import Metrics
from extender.observer import Observer
from extender.on_their_way import OnTheirWay
from extender.overview_answers import OverviewAnswer, OverviewAnswers
from extender.pods import identity_of
from extender.preempt import choose_victims, frees_itself, nominated_node_of
from extender.preferences import DEFAULT_LIMITS, CandidateLimits
from extender.prioritize import prioritize_nodes
from extender.waiting import pods_asked_about
from extender.wire import (
    ExtenderArgs,
    ExtenderBindingArgs,
    ExtenderPreemptionArgs,
    RequestError,
    UnreadableError,
    Victims,
    decode_args,
    decode_binding_args,
    decode_preemption_args,
    encode_binding_result,
    encode_filter_error,
    encode_filter_result,
    encode_host_priorities,
    encode_preemption_result,
)
from gpu_topology.errors import GpuTopologyError, WishError
from gpu_topology.request import GpuRequest, counts_of, with_wishes

MIB: Final = 1024 * 1024

REPORT_PATIENCE: Final = timedelta(seconds=30)
"""How long a pod that has had others evicted waits for the agent to report that they left. A report takes a second or
so; an agent that is down must not keep the pod from trying elsewhere."""


class NotReadyError(GpuTopologyError):
    """The books are not complete yet, so that no decision about GPUs can be made."""


def _ready() -> None:
    """What a service waits for whose ledger was filled by hand: nothing."""


class Service:
    """Answers filter, prioritize, preempt and bind from a ledger, and explains what it answered.

    Attributes:
        metrics: what has been counted.
        binds: whether it binds pods.
        max_request_bytes: the largest request that is answered; a longer one is refused.
        arrivals: a `kubernetes_api.Handler` of pods that sees what became of those that were decided about.

    Args:
        ledger: the books; whoever made them keeps them up to date.
        binder: binds pods; None where kube-scheduler does that itself.
        limits: how many nodes filter passes on at most, the best ones.
        max_request_bytes: as the attribute.
        waiting_for: returns what the books still lack, in a few words, or None once they are complete.
        failing: watches the nodes where GPU pods fail; None: nobody does.
        teller: tells people about pods.
        clock: returns the present time, with its zone.
    """

    def __init__(  # noqa: PLR0913  all but the first have a default and a name
        self,
        ledger: Ledger,
        *,
        binder: Binder | None = None,
        limits: CandidateLimits = DEFAULT_LIMITS,
        max_request_bytes: int = 64 * MIB,
        waiting_for: Callable[[], str | None] = _ready,
        failing: FailingNodes | None = None,
        teller: pod_story.Teller = pod_story.NOBODY,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.metrics = Metrics()
        self.max_request_bytes = max_request_bytes
        self.binds = binder is not None
        self._ledger = ledger
        self._binder = binder
        self._limits = limits
        self._waiting_for = waiting_for
        self._clock = clock
        self._failing = failing or FailingNodes(ledger, clock=clock)
        self._decisions = Decisions()
        self._teller = teller
        observer = Observer(ledger, self.metrics, self._failing, teller)
        self.arrivals = Arrivals(ledger, self._decisions, observer.note_arrival)
        self._overviews = OverviewAnswers(ledger)
        self._on_their_way = OnTheirWay(ledger.has)
        self._log = structlog.get_logger("extender")
        ledger.tell = observer.hear
        ledger.seen = self._on_their_way.arrived

    def unready_reason(self) -> str | None:
        """Why filter cannot decide yet, in a sentence, or None if it can."""
        missing = self._waiting_for()
        return None if missing is None else f"the extender is still waiting for {missing}"

    def account_of(self, node: str) -> dict[str, Any] | None:
        """What the books say of a node: see `extender.account`."""
        self._failing.look()
        return account_of(self._ledger, node)

    async def overview(self, known: str | None = None) -> OverviewAnswer | None:
        """The whole cluster: see `extender.overview`; None if nothing has changed since the one with this tag."""
        self._failing.look()
        return None if known == self._overviews.tag else await self._overviews.answer()

    def pods_asked_about(self) -> dict[str, Any]:
        """The pods that kube-scheduler has asked about of late: see `extender.waiting`."""
        return pods_asked_about(self._ledger, self._decisions)

    def explanation_of(self, pod: str) -> dict[str, Any] | None:
        """Why the pod "<namespace>/<name>" waits: see `extender.explain`; None if it has not been asked about."""
        self._failing.look()
        decision = self._decisions.recall(pod)
        return None if decision is None else explanation_of(self._ledger, decision, self._clock())

    def filter(self, body: bytes) -> bytes:
        """The `ExtenderFilterResult` that answers an `ExtenderArgs`.

        Raises:
            UnreadableError: the body is not JSON.
        """
        with self._counted("filter") as refuse:
            try:
                args = decode_args(self._within_limit(body))
                return self._filter(args, self._request(args.pod))
            except (RequestError, WishError, NotReadyError) as error:
                refuse(error)
                return encode_filter_error(str(error))

    def prioritize(self, body: bytes) -> bytes:
        """The `HostPriorityList` that answers an `ExtenderArgs`; empty where filter would answer with an `Error`.

        Raises:
            UnreadableError: the body is not JSON.
        """
        with self._counted("prioritize") as refuse:
            try:
                args = decode_args(self._within_limit(body))
                return self._prioritize(args, self._request(args.pod))
            except (RequestError, WishError, NotReadyError) as error:
                refuse(error)
                return encode_host_priorities([])

    def preempt(self, body: bytes) -> bytes:
        """The `ExtenderPreemptionResult` that answers an `ExtenderPreemptionArgs`.

        It names no node, so that nobody is evicted, where no eviction helps and where filter would answer with an
        `Error`. kube-scheduler 1.36 takes that for "no candidate node", 1.37 for an error. Both are better than an
        eviction for nothing.

        Raises:
            UnreadableError: the body is not JSON.
        """
        with self._counted("preempt") as refuse:
            try:
                args = decode_preemption_args(self._within_limit(body))
                return self._preempt(args, self._request(args.pod))
            except (RequestError, WishError, NotReadyError) as error:
                refuse(error)
                return encode_preemption_result({})

    async def bind(self, body: bytes) -> bytes:
        """The `ExtenderBindingResult` that answers an `ExtenderBindingArgs`; with an `Error` the pod is tried again.

        Raises:
            UnreadableError: the body is not JSON.
        """
        with self._counted("bind") as refuse:
            try:
                await self._bind(decode_binding_args(self._within_limit(body)))
            except (RequestError, BindError, NotReadyError) as error:
                refuse(error)
                return encode_binding_result(str(error))
            return encode_binding_result()

    def _filter(self, args: ExtenderArgs, request: GpuRequest) -> bytes:
        pod = identity_of(args.pod)
        # Pods take turns over nodes that are equally good; and so do the tries of one pod, which may have failed for
        # what only kube-scheduler sees, such as a volume.
        turn = zlib.crc32(pod.uid.encode()) + self._decisions.tries(pod)
        others = self._on_their_way.beside(pod, self._clock()) if request.wishes.are_hard else ()
        result = filter_nodes(
            self._ledger, request, args.names, limit=self._limits.of(args.pod), turn=turn, on_their_way=others
        )
        self._on_their_way.sent(pod, request, result.passed, self._clock())
        answer = encode_filter_result(args, result.passed, result.failed, result.unresolvable)
        refused = dict(sorted(result.refusals.items()))
        self.metrics.candidates.labels("filter").inc(len(args.names))
        for kind, nodes in refused.items():
            self.metrics.refusals.labels(kind).inc(nodes)
        if not request.is_empty:
            decision = self._decisions.about(pod)
            decision.tries += 1
            decision.filtered = Filtered(self._clock(), len(args.names), len(result.passed), result.left_out, refused)
            self.metrics.filtered.labels("passed" if result.passed else "refused").inc()
            if not result.passed:
                self._teller.tell(pod, pod_story.waiting(pod.key, request, result.refusals))
        self._log.info(
            "filter",
            pod=pod.key,
            gpus=request.total,
            candidates=len(args.names),
            passed=len(result.passed),
            left_out=result.left_out,
            refused=refused,
            **self._expectation(request, result.best),
        )
        return answer

    def _prioritize(self, args: ExtenderArgs, request: GpuRequest) -> bytes:
        result = prioritize_nodes(self._ledger, request, args.names)
        pod, scored = identity_of(args.pod), sum(len(names) for _, names in result.scored)
        self.metrics.candidates.labels("prioritize").inc(len(args.names))
        if not request.is_empty:
            self._decisions.about(pod).prioritized = Prioritized(self._clock(), len(args.names), scored, result.best)
        self._log.info(
            "prioritize",
            pod=pod.key,
            gpus=request.total,
            candidates=len(args.names),
            scored=scored,
            **self._expectation(request, result.best),
        )
        return encode_host_priorities(result.scored)

    def _preempt(self, args: ExtenderPreemptionArgs, request: GpuRequest) -> bytes:
        pod, awaited = identity_of(args.pod), self._awaited(args.pod, request)
        kept = {} if awaited else choose_victims(self._ledger, request, args.victims)
        answer = Preempted(self._clock(), _sizes(args.victims), _sizes(kept), awaited)
        if not request.is_empty:
            decision = self._decisions.about(pod)
            decision.preempted = answer
            decision.evicted_at = answer.at if kept else decision.evicted_at
        self.metrics.candidates.labels("preempt").inc(len(args.victims))
        self.metrics.victims.labels("kept").inc(sum(answer.kept.values()))
        self.metrics.victims.labels("spared").inc(sum(answer.offered.values()) - sum(answer.kept.values()))
        self._log.info(
            "preempt",
            pod=pod.key,
            gpus=request.total,
            candidates=len(args.victims),
            victims=answer.kept,
            awaited=awaited,
        )
        return encode_preemption_result(kept)

    async def _bind(self, args: ExtenderBindingArgs) -> None:
        reason = self.unready_reason()
        if self._binder is None or reason is not None:
            raise NotReadyError(reason or "the extender was started without --bind")
        self._failing.asked()
        bound = await self._binder.bind(args, self._decisions.request_of(args.pod))
        assignment = bound.assignment
        self._log.info(
            "bind",
            pod=args.pod.key,
            node=args.node,
            gpus=bound.request.total,
            gpus_by_container={name: list(uuids) for name, uuids in assignment.containers} if assignment else {},
            bandwidth_gbps=assignment.bandwidth_gbps if assignment else None,
            enforced=assignment.enforced if assignment else None,
        )

    def _awaited(self, pod: Mapping[str, Any], request: GpuRequest) -> str | None:
        """The node for which a pod has had others evicted, if its agent has only yet to report that they left.

        Their GPUs count as held until then, so that filter refuses the node, and kube-scheduler looks for more victims
        elsewhere.
        """
        node, decision = nominated_node_of(pod), self._decisions.recall(identity_of(pod).key)
        if node is None or decision is None or decision.evicted_at is None:
            return None
        if self._clock() - decision.evicted_at > REPORT_PATIENCE:
            return None
        return node if frees_itself(self._ledger, request, node) else None

    def _expectation(self, request: GpuRequest, node: str | None) -> dict[str, Any]:
        """The best node and what the pod would get there, for the log."""
        assessment = None if node is None else self._ledger.expectation(request, node)
        if assessment is None or assessment.worth is None:
            return {}
        return {
            "best_node": node,
            "gpus_by_container": {container: list(gpus) for container, gpus in assessment.containers},
            "bandwidth_gbps": assessment.worth.bandwidth_gbps,
        }

    def _within_limit(self, body: bytes) -> bytes:
        if len(body) > self.max_request_bytes:
            raise RequestError(f"the request is larger than {self.max_request_bytes // MIB} MiB, the limit set here")
        return body

    def _request(self, pod: Mapping[str, Any]) -> GpuRequest:
        """What the pod asks for; GPUs can only be decided upon when the books are complete."""
        counts = counts_of(pod)
        if counts.is_empty:
            return counts
        reason = self.unready_reason()
        if reason is not None:
            raise NotReadyError(reason)
        self._failing.asked()
        decision = self._decisions.about(identity_of(pod))
        try:
            decision.request, decision.problem = with_wishes(counts, pod), None
        except WishError as error:
            decision.request, decision.problem = GpuRequest(), str(error)
            self._teller.tell(decision.pod, pod_story.unreadable(str(error)))
            raise
        return decision.request

    @contextmanager
    def _counted(self, verb: str) -> Generator[Callable[[GpuTopologyError], None]]:
        """Measure and count a request; yields what to call when it cannot be served as asked."""
        result = "ok"

        def refuse(error: GpuTopologyError) -> None:
            nonlocal result
            result = "malformed" if isinstance(error, RequestError) else "error"
            self._log.warning("refused", verb=verb, result=result, error=str(error))

        try:
            with self.metrics.seconds.labels(verb).time():
                yield refuse
        except UnreadableError as error:
            result = "unreadable"
            self._log.warning("refused", verb=verb, result=result, error=str(error))
            raise
        finally:
            self.metrics.requests.labels(verb, result).inc()


def _sizes(victims: Mapping[str, Victims]) -> dict[str, int]:
    """Node to the number of its victims."""
    return {node: len(each.uids) for node, each in victims.items()}
