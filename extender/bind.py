"""Bind: give a pod its node and, in the same write, the GPUs that it gets there.

Chosen and booked in one step, between two awaits, so that no other choice comes in between: that is the lock of the
node. Then the API server is asked. What it answers decides whether the booking stays; where it does not answer, the
booking stays until it is known what became of the pod.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import structlog

from extender.clock import utc_now
from extender.groups import Unknown
from extender.ledger import Ledger
from extender.pods import BoundPod, bound_pod_of, identity_of
from extender.reports import NodeReport
from extender.wire import ExtenderBindingArgs
from gpu_topology.assignment import ASSIGNED_ANNOTATION, Assignment, encode_assignment
from gpu_topology.contract import Allocation
from gpu_topology.errors import GpuTopologyError
from gpu_topology.placement import Assessment
from gpu_topology.request import GpuRequest, has_ended, request_of
from kubernetes_api import ApiError, ConflictError, NotFoundError

BIND_SECONDS: Final = 1.5
"""For the API server to take a binding: less than the two seconds after which kube-scheduler gives us up, so that it
hears the reason."""
DOUBT_SECONDS: Final = 5.0
"""Between two questions about a pod of which it is not known whether it was bound."""

_log = structlog.get_logger("extender")


class BindError(GpuTopologyError):
    """A pod cannot be bound as asked. kube-scheduler shows the sentence on the pod and tries again later."""


class PodApi(Protocol):
    """What is needed of `kubernetes_api.Cluster`."""

    async def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        """One pod; raises `NotFoundError`, `ApiError`."""

    async def bind_pod(  # noqa: PLR0913  what a Binding has
        self, namespace: str, name: str, *, uid: str, node: str, annotations: Mapping[str, str], seconds: float
    ) -> None:
        """Bind a pod; raises `NotFoundError`, `ConflictError`, `ApiError`."""


class Binder:
    """Binds pods on behalf of kube-scheduler.

    Args:
        ledger: the books.
        api: the API server.
        clock: returns the present time, with its zone.
        doubt_seconds: between two questions about a pod of which it is not known whether it was bound.
    """

    def __init__(
        self,
        ledger: Ledger,
        api: PodApi,
        *,
        clock: Callable[[], datetime] = utc_now,
        doubt_seconds: float = DOUBT_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._api = api
        self._clock = clock
        self._doubt_seconds = doubt_seconds
        self._binding: dict[str, asyncio.Task[BoundPod]] = {}
        self._in_doubt: dict[str, asyncio.Task[None]] = {}

    async def bind(self, args: ExtenderBindingArgs, request: GpuRequest | None) -> BoundPod:
        """Bind a pod, once: a second call for it waits for the first, or finds it bound.

        Args:
            args: what kube-scheduler asks for.
            request: what the pod asks for, where that is remembered; else the API server is asked.

        Returns:
            The pod as it stands in the books now.

        Raises:
            BindError: it is not bound, or not known to be.
        """
        task = self._binding.get(args.pod.uid)
        if task is None:
            task = self._binding[args.pod.uid] = asyncio.create_task(self._bind(args, request))
            task.add_done_callback(lambda _: self._binding.pop(args.pod.uid, None))
        # Shielded: a caller that gives up must not leave a binding half done.
        bound = await asyncio.shield(task)
        if bound.node != args.node:
            raise BindError(f"{args.pod.key} is bound to {bound.node} already")
        return bound

    async def settled(self) -> None:
        """Wait until nothing is in doubt any more."""
        while self._in_doubt:
            await asyncio.wait(self._in_doubt.values())

    async def close(self) -> None:
        """Stop asking about pods that are in doubt."""
        for task in self._in_doubt.values():
            task.cancel()
        await asyncio.gather(*self._in_doubt.values(), return_exceptions=True)

    async def _bind(self, args: ExtenderBindingArgs, request: GpuRequest | None) -> BoundPod:
        if request is None:
            request = await self._asked(args)
        bound = self._ledger.bound(args.pod)
        if bound is not None:
            return bound
        pod = self._book(args, request)
        try:
            await self._write(args, pod)
        except NotFoundError as error:
            self._ledger.release(args.pod)
            raise BindError(f"{args.pod.key} is gone") from error
        except ConflictError as error:
            return await self._bound_nevertheless(args, error)
        except ApiError as error:
            if error.status is None:
                self._doubt(args)
                raise BindError(f"not known whether {args.pod.key} was bound: {error}") from error
            self._ledger.release(args.pod)
            raise BindError(f"the API server does not bind {args.pod.key}: {error}") from error
        self._doubt(args)  # bound, but it may be gone again before a watch ever shows it
        return pod

    async def _asked(self, args: ExtenderBindingArgs) -> GpuRequest:
        """What a pod asks for that filter was not asked about here: the extender was started since."""
        pod = await self._look_up(args)
        try:
            return request_of(pod)
        except GpuTopologyError as error:
            raise BindError(str(error)) from error

    def _book(self, args: ExtenderBindingArgs, request: GpuRequest) -> BoundPod:
        """Choose and reserve. Nothing is awaited here, so that nobody else chooses meanwhile."""
        self._ledger.release(args.pod)  # of a try of which it is not known what became of it
        assignment = choose(self._ledger, args, request)
        pod = BoundPod(args.pod, args.node, request, f"{self._clock():%Y-%m-%dT%H:%M:%SZ}", assignment)
        if not request.is_empty:
            self._ledger.reserve(pod)
        return pod

    async def _write(self, args: ExtenderBindingArgs, pod: BoundPod) -> None:
        record = {} if pod.assignment is None else {ASSIGNED_ANNOTATION: encode_assignment(pod.assignment)}
        await self._api.bind_pod(
            args.namespace, args.name, uid=args.pod.uid, node=args.node, annotations=record, seconds=BIND_SECONDS
        )

    async def _bound_nevertheless(self, args: ExtenderBindingArgs, conflict: ConflictError) -> BoundPod:
        """After a conflict: an earlier try may have bound the pod, though its answer was lost.

        Raises:
            BindError: it is not so.
        """
        try:
            pod = await self._look_up(args)
        finally:
            self._ledger.release(args.pod)
        node = pod.get("spec", {}).get("nodeName")
        if node is None or has_ended(pod):
            raise BindError(f"the API server does not bind {args.pod.key}: {conflict}") from conflict
        bound = bound_pod_of(pod, trusts_records=True)
        if bound is None:
            return BoundPod(args.pod, node, GpuRequest(), "")  # it has no GPU, so the books have no place for it
        self._ledger.reserve(bound)  # until the watch shows it
        self._doubt(args)
        return bound

    async def _look_up(self, args: ExtenderBindingArgs) -> dict[str, Any]:
        """The pod as the API server has it.

        Raises:
            BindError: it has no such pod any more, or does not answer.
        """
        try:
            pod = await self._api.get_pod(args.namespace, args.name)
        except NotFoundError as error:
            raise BindError(f"{args.pod.key} is gone") from error
        except ApiError as error:
            raise BindError(f"{args.pod.key} cannot be looked up: {error}") from error
        if identity_of(pod).uid != args.pod.uid:
            raise BindError(f"{args.pod.key} is gone; there is another pod of that name")
        return pod

    def _doubt(self, args: ExtenderBindingArgs) -> None:
        """Find out in the background what became of a pod, unless a watch tells first."""
        if args.pod.uid not in self._in_doubt:
            task = self._in_doubt[args.pod.uid] = asyncio.create_task(self._find_out(args))
            task.add_done_callback(lambda _: self._in_doubt.pop(args.pod.uid, None))

    async def _find_out(self, args: ExtenderBindingArgs) -> None:
        while self._ledger.is_reserved(args.pod):
            await asyncio.sleep(self._doubt_seconds)
            if not self._ledger.is_reserved(args.pod) or args.pod.uid in self._binding:
                continue
            try:
                pod = await self._api.get_pod(args.namespace, args.name)
            except NotFoundError:
                self._ledger.release(args.pod)
            except ApiError as error:
                _log.warning("not known yet what became of a pod", pod=args.pod.key, error=str(error))
            else:
                bound = bound_pod_of(pod)
                if bound is None or bound.identity != args.pod:
                    self._ledger.release(args.pod)


def choose(ledger: Ledger, args: ExtenderBindingArgs, request: GpuRequest) -> Assignment | None:
    """The GPUs for a pod on the node that it is to be bound to, by the books as they stand.

    Returns:
        None where no identities can be promised: it asks for slices or for nothing, or too little is known of the node
        and the pod does not insist on anything.

    Raises:
        BindError: the node is gone, or cannot serve the pod any more.
    """
    book = ledger.book(args.node)
    if book is None:
        raise BindError(f"node {args.node} is gone")
    if request.is_empty:
        return None
    assessment = ledger.expectation(request, args.node)
    if assessment is None:
        if request.wishes.are_hard:
            problem = book.group.problem if isinstance(book.group, Unknown) else "its slices are not counted"
            raise BindError(f"node {args.node} can promise nothing: {problem}")
        return None
    if assessment.refusal is not None:
        raise BindError(f"node {args.node} cannot serve {args.pod.key} any more: {assessment.refusal.message}")
    return _assignment(book.report, args, assessment)


def _assignment(report: NodeReport, args: ExtenderBindingArgs, assessment: Assessment) -> Assignment | None:
    if report.machine is None or report.state is None or not assessment.containers:
        return None
    uuids = report.machine.uuids
    if any(uuids[gpu] is None for _, gpus in assessment.containers for gpu in gpus):
        return None  # a GPU without a UUID cannot be named
    containers = tuple((name, tuple(str(uuids[gpu]) for gpu in gpus)) for name, gpus in assessment.containers)
    bandwidth = assessment.worth.bandwidth_gbps if assessment.worth else None
    enforced = report.state.allocation is Allocation.BEST
    return Assignment(args.pod.uid, args.node, containers, bandwidth or None, enforced)
