"""The verbs, from the bytes of a request to the bytes of its answer: decide, log, count.

This is the whole extender without HTTP and without a cluster; `extender.app` puts it behind HTTP::

    ledger = Ledger()
    ledger.replace_nodes(nodes)  # in the API server's JSON form
    app = create_app(Service(ledger))
"""

import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from extender.account import account_of
from extender.filter import filter_nodes
from extender.ledger import Ledger
from extender.metrics import Metrics
from extender.pods import identity_of
from extender.prioritize import prioritize_nodes
from extender.reports import Knowledge
from extender.wire import (
    ExtenderArgs,
    RequestError,
    UnreadableError,
    decode_args,
    encode_filter_error,
    encode_filter_result,
    encode_host_priorities,
)
from gpu_topology.errors import GpuTopologyError, WishError
from gpu_topology.request import GpuRequest, containers_of, request_of

MIB: Final = 1024 * 1024


class NotReadyError(GpuTopologyError):
    """The books are not complete yet, so that no decision about GPUs can be made."""


def _ready() -> None:
    """What a service waits for whose ledger was filled by hand: nothing."""


class Service:
    """Answers filter and prioritize from a ledger.

    Attributes:
        metrics: what has been counted.
        max_request_bytes: the largest request that is answered; a longer one is refused.

    Args:
        ledger: the books; whoever made them keeps them up to date.
        max_candidates: how many nodes filter passes on at most, the best ones; 0: all.
        max_request_bytes: as the attribute.
        waiting_for: returns what the books still lack, in a few words, or None once they are complete.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        max_candidates: int = 100,
        max_request_bytes: int = 64 * MIB,
        waiting_for: Callable[[], str | None] = _ready,
    ) -> None:
        self.metrics = Metrics()
        self.max_request_bytes = max_request_bytes
        self._ledger = ledger
        self._max_candidates = max_candidates
        self._waiting_for = waiting_for
        self._log = structlog.get_logger("extender")
        self.metrics.watch("gpu_scheduler_nodes", "Nodes, by what is known of them.", "knowledge", self._knowledge)

    def _knowledge(self) -> dict[str, int]:
        """Every kind of knowledge, so that one that no node has at present shows as 0."""
        nodes = self._ledger.knowledge()
        return {kind.value: nodes[kind] for kind in Knowledge if kind is not Knowledge.UNSEEN}

    def unready_reason(self) -> str | None:
        """Why filter cannot decide yet, in a sentence, or None if it can."""
        missing = self._waiting_for()
        return None if missing is None else f"the extender is still waiting for {missing}"

    def account_of(self, node: str) -> dict[str, Any] | None:
        """What the books say of a node: see `extender.account`."""
        return account_of(self._ledger, node)

    def filter(self, body: bytes) -> bytes:
        """The `ExtenderFilterResult` that answers an `ExtenderArgs`.

        Raises:
            UnreadableError: the body is not JSON.
        """
        with self._counted("filter") as refuse:
            try:
                args = self._decode(body)
                return self._filter(args, self._request(args))
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
                args = self._decode(body)
                return self._prioritize(args, self._request(args))
            except (RequestError, WishError, NotReadyError) as error:
                refuse(error)
                return encode_host_priorities([])

    def _filter(self, args: ExtenderArgs, request: GpuRequest) -> bytes:
        pod = identity_of(args.pod)
        # The hash that Python gives to strings differs from process to process: a retry should not see other nodes.
        turn = zlib.crc32(pod.uid.encode())
        result = filter_nodes(self._ledger, request, args.names, limit=self._max_candidates, turn=turn)
        answer = encode_filter_result(args, result.passed, result.failed, result.unresolvable)
        self.metrics.candidates.labels("filter").inc(len(args.names))
        for kind, nodes in result.refusals.items():
            self.metrics.refusals.labels(kind).inc(nodes)
        self._log.info(
            "filter",
            pod=pod.key,
            gpus=request.total,
            candidates=len(args.names),
            passed=len(result.passed),
            left_out=result.left_out,
            refused=dict(result.refusals),
            **self._expectation(request, result.best),
        )
        return answer

    def _prioritize(self, args: ExtenderArgs, request: GpuRequest) -> bytes:
        result = prioritize_nodes(self._ledger, request, args.names)
        self.metrics.candidates.labels("prioritize").inc(len(args.names))
        self._log.info(
            "prioritize",
            pod=identity_of(args.pod).key,
            gpus=request.total,
            candidates=len(args.names),
            scored=sum(len(names) for _, names in result.scored),
            **self._expectation(request, result.best),
        )
        return encode_host_priorities(result.scored)

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

    def _decode(self, body: bytes) -> ExtenderArgs:
        if len(body) > self.max_request_bytes:
            raise RequestError(f"the request is larger than {self.max_request_bytes // MIB} MiB, the limit set here")
        return decode_args(body)

    def _request(self, args: ExtenderArgs) -> GpuRequest:
        """What the pod asks for; GPUs can only be decided upon when the books are complete."""
        if not containers_of(args.pod):
            return GpuRequest()
        reason = self.unready_reason()
        if reason is not None:
            raise NotReadyError(reason)
        return request_of(args.pod)

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
