"""The books beside a model of the cluster: whatever happens, in whatever order it becomes known, they hold.

Hypothesis makes up histories of a small cluster (`books_world`). The extender's ledger sees of them only what its two
watches bring: late, in any interleaving of the two, and after a break only what a new list shows. After every step the
books must keep to what they have been shown, and whenever all has been shown and reported, to the truth.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from operator import attrgetter
from random import Random
from typing import Any, ClassVar, TypeAlias, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from extender.book import NodeBook
from extender.feeds import trimmed_node, trimmed_pod
from extender.filter import filter_nodes
from extender.groups import Situation
from extender.ledger import Ledger
from gpu_topology.contract import Allocation
from gpu_topology.placement import gpus_of
from gpu_topology.request import ContainerRequest, GpuRequest, Require, Wishes
from tests.extender.books_world import (
    Admit,
    Containers,
    Defect,
    Kubelet,
    Machine,
    Node,
    Pod,
    Report,
    Task,
    World,
    spoilt,
)
from tests.extender.builders import bridged, plain, switched

SEQUENCES = 500
"""Histories that are made up for each kind of cluster; there are four kinds."""
STEPS = 30
"""The most steps of a history."""

NAMES = ("a", "b", "c", "d", "e")
"""Few names, so that they come back often."""
HARD_WISH = GpuRequest((ContainerRequest("c0", 1),), Wishes(require=Require.NUMA))
NO_WISH = GpuRequest((ContainerRequest("c0", 1),))

Choice = TypeVar("Choice")
NewPod: TypeAlias = tuple[int, Containers, Mapping[str, str], int]

picks = st.integers(0, 11)
"""Which of those that there are: see `pick`."""
containers = st.builds(
    Containers,
    st.sampled_from([(1,), (2,), (1,), (2,), (3,), (4,), (1, 1), (1, 2), (2, 0, 1), (0,)]),
    st.sampled_from([(), (), (), (), (1,), (2,), (2, 3)]),
    st.sampled_from([(), (), (), (), (1,)]),
)
wishes = st.sampled_from(
    [
        {},
        {},
        {"gpu-scheduler/require": "nvlink"},
        {"gpu-scheduler/communication": "light"},
        {"gpu-scheduler/require": "cannot be read"},
    ]
)
new_pods = st.tuples(picks, containers, wishes, st.integers(0, 1))
"""Node, containers, wishes, and seconds since the one before."""


class Leaving(StrEnum):
    """How a pod begins to leave."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETED = "somebody deletes it: its containers run on until the grace period is over"
    REMOVED = "its record goes away, perhaps before its processes do"


class Trouble(StrEnum):
    """What may happen to a node."""

    LOST = "a GPU breaks, whoever has it"
    CORDONED = "a person takes a GPU out of use, whoever has it"
    NODE_DELETED = "somebody deletes the node; its kubelet makes it anew, without annotations, some time later"


def pick(choices: Sequence[Choice], number: int) -> Choice:
    """The choice that a number stands for, whatever there is to choose from."""
    return choices[number % len(choices)]


class Books(RuleBasedStateMachine):
    """The ledger, what it has been shown, and the world that it is shown only parts of."""

    machines: ClassVar[Mapping[str, Machine]]
    binds: ClassVar = False
    """Whether it is the extender that binds, and trusts what is recorded on pods."""

    @initialize(seed=st.integers(0, 2**16), pods=st.lists(new_pods, max_size=4))
    def begin(self, seed: int, pods: list[NewPod]) -> None:
        """Some pods run, the agents have reported them, and an extender has just listed everything."""
        self.world = World(self.machines, Random(seed))
        self.now = 0
        self.looks: dict[str, Report] = {}
        self.restarted_from: tuple[dict[str, Pod], dict[str, Node]] | None = None
        self._restart()
        self.bind(pods)
        self.settle()

    # Pods come and go.

    @rule(pods=st.lists(new_pods, min_size=1, max_size=4))
    def bind(self, pods: list[NewPod]) -> None:
        """Some scheduler binds pods to nodes whose counts suffice; some of them in the same second."""
        for node, containers, wishes, seconds in pods:
            self.now += seconds
            unused = [name for name in NAMES if name not in self.world.pods]
            pod = Pod((unused or NAMES)[0], "", pick(sorted(self.machines), node), containers, wishes, self.now)
            if unused and self.world.has_room(pod.node, pod.request.total):
                self.world.create(pod)

    @rule(numbers=st.lists(picks, min_size=1, max_size=4))
    def kubelets_work(self, numbers: list[int]) -> None:
        """Kubelets do some of what they have to do, in any order: the pods are admitted and filled in one by one."""
        for number in numbers:
            if tasks := self.world.tasks():
                self._work(pick(tasks, number))

    @rule(number=picks, how=st.sampled_from(Leaving))
    def leave(self, number: int, how: Leaving) -> None:
        """A pod begins to leave; its kubelet has yet to take its GPUs back."""
        if not self.world.pods:
            return
        pod = pick(sorted(self.world.pods.values(), key=attrgetter("name")), number)
        match how if pod.node else Leaving.REMOVED:
            case Leaving.DELETED:
                self.world.write_pod(replace(pod, deleting=True))
            case Leaving.REMOVED:
                self.world.remove_pod(pod)
            case _:
                self.world.write_pod(replace(pod, phase=how))

    # Nodes and their agents.

    @rule(node=picks, late=st.booleans())
    def report(self, node: int, late: bool) -> None:  # noqa: FBT001  hypothesis passes keywords
        """An agent reports what it sees now; or what it saw before, and keeps what it sees now for even later."""
        kubelet = self._kubelet(node)
        now = kubelet.look()
        seen, self.looks[kubelet.name] = self.looks.get(kubelet.name, now), now
        self.world.publish(kubelet, seen if late else now)

    @rule(node=picks, gpu=picks, what=st.sampled_from([*Defect, *Trouble, *Trouble, *Trouble]))
    def trouble_a_node(self, node: int, gpu: int, what: Defect | Trouble) -> None:
        """Something happens to a node or to one of its GPUs; what was the matter before is over the second time."""
        kubelet = self._kubelet(node)
        which = {pick(sorted(kubelet.gpus), gpu)}
        match what:
            case Defect():
                self.world.annotate(kubelet, spoilt(kubelet, what), None)
            case Trouble.LOST:
                kubelet.lost ^= which
                self.world.update_allocatable(kubelet)
            case Trouble.CORDONED:
                kubelet.cordoned ^= which
            case Trouble.NODE_DELETED if kubelet.name in self.world.nodes:
                self.world.remove_node(kubelet.name)
            case Trouble.NODE_DELETED:
                self.world.register(kubelet)

    # What the extender gets to know.

    @rule(of_pods=st.booleans(), count=st.integers(1, 4))
    def some_arrives(self, of_pods: bool, count: int) -> None:  # noqa: FBT001  hypothesis passes keywords
        """One of the watches brings some changes; the other may bring its older ones later."""
        if of_pods:
            self._bring_pods(count)
        else:
            self._bring_nodes(count)

    @rule()
    def everything_arrives(self) -> None:
        """Both watches are up to date again, after a new list where one had broken."""
        if self.world.pod_watch.broken:
            self._list_pods()
        if self.world.node_watch.broken:
            self._list_nodes()
        self._bring_pods(len(self.world.pod_watch))
        self._bring_nodes(len(self.world.node_watch))

    @rule(what=st.sampled_from(["pods", "nodes", "extender"]))
    def break_something(self, what: str) -> None:
        """A watch breaks and cannot be resumed, so that changes are missed until there is a new list.

        Or the extender is killed, and begins with lists of what is true.
        """
        match what:
            case "pods" if self.world.pod_watch.broken:
                self._list_pods()
            case "pods":
                self.world.pod_watch.lose()
            case "nodes" if self.world.node_watch.broken:
                self._list_nodes()
            case "nodes":
                self.world.node_watch.lose()
            case _:
                self._restart()

    # What must hold.

    @rule()
    def settle(self) -> None:
        """All that is under way comes to its end and is shown: then the books are the truth."""
        for pod in [pod for pod in self.world.bound_pods.values() if pod.deleting]:
            self.world.remove_pod(pod)
        while tasks := self.world.tasks():
            self._work(tasks[0])
        for kubelet in self.world.kubelets.values():
            self.world.publish(kubelet, kubelet.look())
        self.everything_arrives()
        for name in self.world.nodes:
            self._check_truth(self.world.kubelets[name])

    @invariant()
    def free_gpus_are_healthy_and_nobody_has_them(self) -> None:
        """By the last report that can be relied upon."""
        for _, report, book in self._known():
            assert _free(book) <= report.free
            assert not _free(book) & report.unusable
            assert not any(_free(book) & frozenset(holder.gpus) for holder in report.held)

    @invariant()
    def a_gpu_is_free_or_expected_by_one_pod(self) -> None:
        """What is reported free is divided up, without rest, and no GPU is in two shares."""
        for _, report, book in self._known():
            shares = [_free(book), *(frozenset(gpus_of(mask)) for mask in book.expected.values())]
            assert sum(map(len, shares)) == len(report.free)
            assert frozenset().union(*shares) == report.free

    @invariant()
    def every_bound_pod_has_what_it_asks_for(self) -> None:
        """Shown and expected together, however old the report is; fewer only where no GPU is left, never more."""
        for name, report, book in self._known():
            bound = {pod.key: pod for pod in self._holding(name)}
            assert book.expected.keys() <= bound.keys()
            for key, pod in bound.items():
                expected = book.expected.get(key, 0).bit_count()
                missing = max(pod.request.total - len(report.held_by(pod)), 0)
                assert expected == missing or (expected < missing and not _free(book))

    @invariant()
    def the_count_is_never_exceeded(self) -> None:
        """No more is free than kube-scheduler would count, but for GPUs that were lost or cordoned under a pod."""
        for name, report, book in self._known():
            usable = len(self.world.kubelets[name].gpus) - len(report.unusable)
            bound = self._holding(name)
            lost = sum(len(report.held_by(pod) & report.unusable) for pod in bound)
            assert len(_free(book)) <= max(usable - sum(pod.request.total for pod in bound) + lost, 0)

    @invariant()
    def nothing_is_promised_of_unknown_nodes(self) -> None:
        """A hard wish is refused there, and nobody else is kept away."""
        unknown = [name for name in self.machines if self._report(name) is None]
        for name in unknown:
            book = self.ledger.book(name)
            assert book is None or not isinstance(book.group, Situation)
        assert not filter_nodes(self.ledger, HARD_WISH, unknown).passed
        assert sorted(filter_nodes(self.ledger, NO_WISH, unknown).passed) == sorted(unknown)

    @invariant()
    def a_restart_would_change_nothing(self) -> None:
        """The books rest on nothing but the objects that were shown last."""
        shown = dict(self.shown_pods), dict(self.shown_nodes)
        if shown == self.restarted_from or self._reserved():
            return  # as most steps leave it; and what is reserved is forgotten with a restart
        self.restarted_from = shown
        fresh = Ledger(trusts_records=self.binds)
        fresh.replace_pods(map(_trimmed, self.shown_pods.values()))
        fresh.replace_nodes(map(_trimmed, self.shown_nodes.values()))
        assert fresh.nodes == self.ledger.nodes
        for name in fresh.nodes:
            assert _page(self.ledger.book(name)) == _page(fresh.book(name))

    def _work(self, task: Task) -> None:
        """Do what a kubelet has to do. Where the choice is enforced, it gives what the books expect."""
        if isinstance(task, Admit):
            expected = self._sure_expectation(task.pod)
            assert task.done(self.world) == expected or expected is None
        else:
            task.done(self.world)

    def _bring_pods(self, count: int) -> None:
        for name, pod in self.world.pod_watch.arrived(count):
            if pod is None:
                gone = self.shown_pods.pop(name)
                self.ledger.forget_pod(gone.key, gone.uid)
            else:
                self.shown_pods[name] = pod
                self.ledger.apply_pod(_trimmed(pod))

    def _bring_nodes(self, count: int) -> None:
        for name, node in self.world.node_watch.arrived(count):
            if node is None:
                self.shown_nodes.pop(name, None)
                self.ledger.forget_node(name)
            else:
                self.shown_nodes[name] = node
                self.ledger.apply_node(_trimmed(node))

    def _list_pods(self) -> None:
        self.world.pod_watch.renew()
        self.shown_pods = self.world.bound_pods
        self.ledger.replace_pods(map(_trimmed, self.shown_pods.values()))

    def _list_nodes(self) -> None:
        self.world.node_watch.renew()
        self.shown_nodes = dict(self.world.nodes)
        self.ledger.replace_nodes(map(_trimmed, self.shown_nodes.values()))

    def _restart(self) -> None:
        self.ledger = Ledger(trusts_records=self.binds)
        self._list_nodes()
        self._list_pods()

    def _check_truth(self, kubelet: Kubelet) -> None:
        book = self.ledger.book(kubelet.name)
        assert book is not None
        free = _free(book)
        if not kubelet.leftovers_are_hidden:
            assert free == kubelet.free
            assert not book.expected
        elif kubelet.unusable:
            # Whether it is one of the hidden GPUs that was lost cannot be known: the books may count it twice.
            assert len(free) <= len(kubelet.free)
        else:
            assert len(free) == len(kubelet.free)

    def _sure_expectation(self, pod: Pod) -> frozenset[int] | None:
        """What the books are sure that a pod will get; None where they can but guess.

        They are sure where the choice is enforced and all there is to know has been shown to them, and the pod is the
        only one that its kubelet has yet to serve.
        """
        kubelet = self.world.kubelets[pod.node]
        book = self.ledger.book(pod.node)
        if (
            kubelet.machine.allocation is not Allocation.BEST
            or book is None
            or self._report(pod.node) != kubelet.look()
            or kubelet.leftovers_are_hidden
            or kubelet.unlisted
            or self.shown_pods.get(pod.name) != pod
            or book.expected.keys() != {pod.key}
            or kubelet.cordoned
            or not self.world.has_room(pod.node, 0)
        ):
            return None
        expected = frozenset(gpus_of(book.expected[pod.key]))
        return expected if len(expected) == pod.request.total else None

    def _known(self) -> Iterator[tuple[str, Report, NodeBook]]:
        """The nodes that the books must know by what has been shown, with the report that they rest on."""
        for name in self.machines:
            report, book = self._report(name), self.ledger.book(name)
            if report is not None:
                assert book is not None
                assert isinstance(book.group, Situation), book.report.problem
                yield name, report, book

    def _report(self, node: str) -> Report | None:
        return self.shown_nodes[node].report if node in self.shown_nodes else None

    def _holding(self, node: str) -> list[Pod]:
        """The pods that hold GPUs of a node, as far as shown, and those that the extender is about to bind there."""
        reserved = {pod.name: pod for pod in self._reserved()}  # where there is one, an older one of its name is gone
        shown = {pod.name: pod for pod in self.shown_pods.values() if not pod.has_ended}
        return [pod for pod in (shown | reserved).values() if pod.node == node]

    def _reserved(self) -> list[Pod]:
        """The pods that the extender has booked itself: see `test_bind_model`."""
        return []

    def _kubelet(self, number: int) -> Kubelet:
        return pick(list(self.world.kubelets.values()), number)


def _trimmed(obj: Node | Pod) -> dict[str, Any]:
    """An object as it arrives in the books."""
    return trimmed_node(obj.json()) if isinstance(obj, Node) else trimmed_pod(obj.json())


def _free(book: NodeBook) -> frozenset[int]:
    assert isinstance(book.group, Situation)
    return frozenset(gpus_of(book.group.free))


def _page(book: NodeBook | None) -> object:
    """All that decisions and people are told of a node."""
    assert book is not None
    if not isinstance(book.group, Situation):
        return book.report.knowledge, book.group.problem
    return book.group.free, book.group.usable, book.group.allocation, book.expected


class WhereTheVendorChooses(Books):
    """Nodes as they are without enforcement."""

    machines: ClassVar = {"n": Machine(bridged(4), Allocation.VENDOR), "m": Machine(plain(4), Allocation.VENDOR)}


class WhereTheChoiceIsEnforced(Books):
    """Nodes that give what the books expect."""

    machines: ClassVar = {"n": Machine(bridged(6), Allocation.BEST), "m": Machine(switched(4), Allocation.BEST)}


class BehindRealKubelets(Books):
    """Agents that know no more than the kubelet lists: pods by name, and nothing of finished init containers."""

    machines: ClassVar = {
        "n": Machine(bridged(4), Allocation.BEST, knows_uids=False, lists_init=False),
        "m": Machine(plain(4), Allocation.VENDOR, knows_uids=False, lists_init=False),
    }


class OnASingleMachine(Books):
    """All pods crowd on one node."""

    machines: ClassVar = {"n": Machine(bridged(8), Allocation.BEST)}


@pytest.mark.parametrize(
    "cluster", [WhereTheVendorChooses, WhereTheChoiceIsEnforced, BehindRealKubelets, OnASingleMachine]
)
def test_the_books_hold_whatever_happens(cluster: type[Books]) -> None:
    """Where CI=true always the same histories are made up, so that a failure is the change's own."""
    run_state_machine_as_test(
        cluster,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=os.environ.get("CI") == "true",
        ),
    )
