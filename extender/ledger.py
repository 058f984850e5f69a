"""The books: which GPUs of which node a pod could get at this moment.

Two sources, each with the last word on something:

- The API server's pods say *how many* GPUs are taken: a pod holds its GPUs from the moment it is bound until the API
  server has no such pod, or it has succeeded or failed, whichever scheduler bound it.
- The agent's report says *which*. It rules wherever it names a pod as holder: a GPU that it shows as held is taken,
  even if the API server no longer has the holder, until a later report says otherwise (a pod's record may be deleted
  before its processes have ended).

Between a binding and the report that shows it, the pod is booked with the set that is recorded on it, or else with the
one that placement itself would choose or predict from what the books have left, in the order of binding: as expected,
not as known. Only where the node enforces what is recorded is the identity of these GPUs sure; of all others only their
number is. A report that is older than a
binding therefore never undoes it, and one that is newer replaces the guess. A pod that the report shows with fewer GPUs
than it asks for (the kubelet fills in its containers one by one, and does not list what a finished init container
leaves to the pod) is booked for the rest as well.

Parts of GPUs, MIG devices and replicas, are booked in the same way, but by number: per resource, on the GPUs over which
the vendor's device plugin would spread them.

What a pod has from a DRA driver is no GPU of a device plugin and is not booked as one; it is written down beside, by
number. A node whose GPUs come from such a driver is unknown: see `extender.dra`.

A pod that this process is about to bind is reserved: booked as if it were bound, until the API server shows that it
is, or whoever reserved it lets go.

Reservations aside, the books depend only on the latest node and pod objects, not on the order in which they came, so
that a restart rebuilds the same ones.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from extender.book import NodeBook
from extender.bookings import expect, expect_slices
from extender.demand import LearntDemand
from extender.dra import problem_of
from extender.failures import Verdict, is_left_out
from extender.findings import Finding, Witnesses, allotments
from extender.groups import Groups, Situation, Unknown
from extender.offers import Market, Offer
from extender.places import Places
from extender.pods import BoundPod, PodIdentity, bound_pod_of, identity_of
from extender.promises import is_unsettled
from extender.reports import UNSEEN, Knowledge, NodeReport, ReportReader
from extender.stock import MachineClass, Stock, stock_of
from gpu_topology.placement import DEFAULT_DEMAND, Assessment, Demand, WorthModels, mask_of
from gpu_topology.placement.models import RING_EVERYWHERE
from gpu_topology.request import GpuRequest


class Ledger:
    """The books of a cluster. Not for use from several threads.

    Feed it with objects in the API server's JSON form: from a watch, or by hand::

        ledger = Ledger()
        ledger.replace_nodes([{"metadata": {"name": "a", "annotations": {...}}}])
        ledger.apply_pod(pod)

    Args:
        models: how the worth of a set of GPUs is computed.
        demand: the request sizes that are expected next; None: learnt from the pods.
        trusts_records: whether what is recorded on pods of chosen GPUs was surely written by an extender.

    Attributes:
        changes: how often anything in the books has changed: equal numbers, equal books.
        tell: called with what is found out about what was expected; does nothing unless somebody is put here.
        seen: likewise with every pod that is shown bound, with GPUs or without, or gone after it was.
        unsettled: nodes with pods of which only the number of GPUs is known, not which.
    """

    def __init__(
        self,
        models: WorthModels = RING_EVERYWHERE,
        demand: Demand | None = None,
        *,
        trusts_records: bool = False,
    ) -> None:
        self.changes = 0
        self._standings: Mapping[str, Verdict] = {}
        self._trusts_records = trusts_records
        self._demand = LearntDemand(demand)
        self._market = Market(self._demand.current)
        self._reader = ReportReader(models)
        self._groups = Groups()
        self._books: dict[str, NodeBook] = {}
        self._places = Places()
        self._pods: dict[str, BoundPod] = {}
        self._pods_on: defaultdict[str, dict[str, BoundPod]] = defaultdict(dict)
        self._reserved: dict[str, BoundPod] = {}
        self._witnesses = Witnesses()
        self._device_class: str | None = None
        self.unsettled: set[str] = set()
        self.tell: Callable[[Finding], None] = lambda _: None
        self.seen: Callable[[PodIdentity], None] = lambda _: None

    @property
    def standings(self) -> Mapping[str, Verdict]:
        """The nodes where GPU pods keep failing, and what is to be thought of them; whoever watches them says."""
        return self._standings

    @standings.setter
    def standings(self, standings: Mapping[str, Verdict]) -> None:
        self.changes += standings != self._standings
        self._standings = standings

    def replace_nodes(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        """These are all the nodes that exist."""
        gone = set(self._books)
        for node in nodes:
            gone.discard(_name_of(node))
            self.apply_node(node)
        for name in gone:
            self.forget_node(name)

    def apply_node(self, node: Mapping[str, Any]) -> None:
        """A node was added or changed."""
        name = _name_of(node)
        book = self._books.get(name)
        report = self._reader.read(node, book.report if book else UNSEEN)
        if book is None or report is not book.report:
            self._balance(name, report)

    def forget_node(self, name: str) -> None:
        """A node is gone. Its pods stay in the books until they are gone too: it may come back under them."""
        self.changes += 1
        self._books.pop(name, None)
        self._places.remove(name)
        self.unsettled.discard(name)

    def serve_by_dra(self, device_class: str | None) -> None:
        """GPUs that no device plugin offers are handed out by this DRA class from now on; None: by none."""
        if device_class != self._device_class:
            self._device_class = device_class
            for node in list(self._books):
                self._rebalance(node)

    def replace_pods(self, pods: Iterable[Mapping[str, Any]]) -> None:
        """These are all the pods that exist."""
        bound = {pod.identity.key: pod for pod in map(self._bound_pod_of, pods) if pod is not None}
        for pod in bound.values():
            self.release(pod.identity)
        touched = {pod.node for key, pod in self._pods.items() if bound.get(key) != pod}
        touched.update(pod.node for key, pod in bound.items() if self._pods.get(key) != pod)
        for key, pod in self._pods.items():
            if key not in bound or bound[key].identity != pod.identity:
                self._witnesses.forget(pod.identity)
        self._pods = bound
        self._pods_on.clear()
        for key, pod in bound.items():
            self._pods_on[pod.node][key] = pod
        for node in touched:
            self._rebalance(node)
        self._demand.replace(pod.request for pod in bound.values())
        self._relearn()

    def apply_pod(self, pod: Mapping[str, Any]) -> None:
        """A pod was added or changed."""
        identity = identity_of(pod)
        self._put(identity.key, self._bound_pod_of(pod), self._unreserve(identity))
        self.seen(identity)

    def forget_pod(self, key: str, uid: str | None = None) -> None:
        """A pod, "<namespace>/<name>", is gone; where its UID is given, another pod of that name stays reserved."""
        self._put(key, None)
        if uid is not None:
            self.seen(PodIdentity(key, uid))
        reserved = self._reserved.get(key)
        if reserved is not None and uid in (None, reserved.identity.uid):
            self.release(reserved.identity)

    def reserve(self, pod: BoundPod) -> None:
        """Book a pod that is about to be bound, unless it is known to be bound already."""
        key = pod.identity.key
        if self.bound(pod.identity) is None:
            namesakes = self._reserved.get(key), self._pods.get(key)
            self._reserved[key] = pod
            self._rebalance_all(pod, *namesakes)

    def release(self, pod: PodIdentity) -> None:
        """Let go of what is reserved for a pod, if anything is. Seen bound, it is let go of by itself."""
        reserved = self._unreserve(pod)
        if reserved is not None:
            self._rebalance_all(reserved, self._pods.get(pod.key))

    def is_reserved(self, pod: PodIdentity) -> bool:
        """Whether a pod is booked that the API server has yet to show as bound."""
        reserved = self._reserved.get(pod.key)
        return reserved is not None and reserved.identity == pod

    def bound(self, pod: PodIdentity) -> BoundPod | None:
        """A pod as the API server has shown it, bound and holding GPUs; None if it has not."""
        found = self._pods.get(pod.key)
        return found if found is not None and found.identity == pod else None

    def has(self, pod: PodIdentity) -> bool:
        """Whether a pod is booked, bound or reserved."""
        return self.bound(pod) is not None or self.is_reserved(pod)

    def offers(self, request: GpuRequest, names: Sequence[str]) -> dict[Offer, list[str]]:
        """What the given nodes offer to a request: each offer with the nodes that make it.

        Nodes that the books do not have are unknown ones.
        """
        offer_of = self._market.offers(request)
        nodes: defaultdict[Offer, list[str]] = defaultdict(list)
        for group, found in self._places.among(names):
            nodes[offer_of[group]] += found
        return nodes

    def expectation(self, request: GpuRequest, node: str) -> Assessment | None:
        """What a pod would get on a node; None where too little is known of it."""
        group = self._places.group_of(node)
        if isinstance(group, Unknown) or not group.counts(request):
            return None
        return group.assess(request, self._demand.current)

    def book(self, node: str) -> NodeBook | None:
        """A node's page, or None if there is no such node."""
        return self._books.get(node)

    def pods_on(self, node: str) -> Sequence[BoundPod]:
        """The pods that hold GPUs of a node or are about to, in the order of binding."""
        # Names are unique: where a pod is reserved, an older one of its name is gone, though no watch has shown it yet.
        bound = [pod for key, pod in self._pods_on.get(node, {}).items() if key not in self._reserved]
        reserved = [pod for pod in self._reserved.values() if pod.node == node]
        return sorted([*bound, *reserved], key=lambda pod: (pod.scheduled_at, pod.identity.key))

    @property
    def demand(self) -> Demand:
        """The request sizes that are expected next."""
        return self._demand.current

    @property
    def nodes(self) -> list[str]:
        """The names of all nodes, in alphabetical order."""
        return sorted(self._books)

    def knowledge(self) -> Counter[Knowledge]:
        """How many nodes are known, or unknown for which kind of reason."""
        return Counter(book.knowledge for book in self._books.values())

    def stock(self) -> Mapping[MachineClass, Stock]:
        """The GPUs of each class of machines, as far as they are known."""
        left_out = {node for node, verdict in self.standings.items() if is_left_out(verdict)}
        return stock_of(self._books.items(), left_out, self._demand.current)

    def count_gpu_nodes(self) -> int:
        """How many nodes have GPUs, by their kubelet or their agent."""
        reports = [book.report for book in self._books.values()]
        return sum(bool(report.allocatable) or report.machine is not None for report in reports)

    def _bound_pod_of(self, pod: Mapping[str, Any]) -> BoundPod | None:
        return bound_pod_of(pod, trusts_records=self._trusts_records)

    def _unreserve(self, pod: PodIdentity) -> BoundPod | None:
        """Take out what is reserved for a pod; the page of its node is still to be written anew."""
        reserved = self._reserved.get(pod.key)
        return self._reserved.pop(pod.key) if reserved is not None and reserved.identity == pod else None

    def _put(self, key: str, pod: BoundPod | None, reserved: BoundPod | None = None) -> None:
        before = self._pods.pop(key, None)
        if before is not None:
            self._pods_on[before.node].pop(key, None)
            if pod is None or pod.identity != before.identity:
                self._witnesses.forget(before.identity)
        if pod is not None:
            self._pods[key] = self._pods_on[pod.node][key] = pod
        if before != pod:
            self._count(before, pod)
        if before != pod or reserved is not None:
            self._rebalance_all(before, pod, reserved)

    def _count(self, before: BoundPod | None, pod: BoundPod | None) -> None:
        if before is not None:
            self._demand.remove(before.request)
        if pod is not None:
            self._demand.add(pod.request)
        self._relearn()

    def _relearn(self) -> None:
        if self._demand.relearn():
            self._market = Market(self._demand.current)

    def _rebalance_all(self, *pods: BoundPod | None) -> None:
        for node in {pod.node for pod in pods if pod is not None}:
            self._rebalance(node)

    def _rebalance(self, node: str) -> None:
        book = self._books.get(node)
        if book is not None:
            self._balance(node, book.report)
        if not self._pods_on.get(node):
            self._pods_on.pop(node, None)

    def _balance(self, name: str, report: NodeReport) -> None:
        """Write a node's page anew, from its report and the pods that are bound to it."""
        self.changes += 1
        pods = self.pods_on(name)
        before = self._books.get(name)
        book = self._balanced(report, pods)
        self._books[name] = book
        self._places.put(name, book.group)
        (self.unsettled.add if is_unsettled(book) else self.unsettled.discard)(name)

        if before is not None and before.report is not report:
            for allotment in allotments(name, before, report, pods):
                self.tell(allotment)
        for evidence in self._witnesses.hear(name, report, pods):
            self.tell(evidence)

    def _balanced(self, report: NodeReport, pods: Sequence[BoundPod]) -> NodeBook:
        claimed = {pod.identity.key: pod.claim for pod in pods if pod.claim is not None}
        if self._device_class is not None and not report.offers_gpus:
            group = self._groups.unknown(problem_of(self._device_class))
            return NodeBook(report, {}, group, claimed=claimed, device_class=self._device_class)
        if report.machine is None or report.state is None:
            return NodeBook(report, {}, self._groups.unknown(report.problem or ""), claimed=claimed)
        tables, state = report.machine.tables, report.state
        cut = mask_of({pool.gpu for pool in state.slices or () if pool.gpu is not None})
        usable = mask_of(range(len(tables))) & ~mask_of(state.unhealthy) & ~cut
        reported = Situation(tables, mask_of(state.free or ()), usable, state.allocation, state.slices)
        # Nodes do not know what was learnt here, so what they will do is judged by the default.
        expected = expect(pods, state.held, reported, DEFAULT_DEMAND, report.machine.uuids)
        expected_slices, slices = expect_slices(pods, state.held_slices, reported)
        situation = self._groups.known(tables, expected.free, usable, state.allocation, slices)
        return NodeBook(report, expected.gpus, situation, expected_slices, expected.exclusive, claimed)


def _name_of(node: Mapping[str, Any]) -> str:
    name: str = node["metadata"]["name"]
    return name
