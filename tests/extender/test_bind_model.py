"""The model of the books with an extender that binds: what it promises by identity it promises once.

The histories are those of `test_books_model`. In addition pods are created and bound through the extender, whose
bindings may be refused, lost on their way there or back, or overtaken; and it may be killed while one is under way.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from extender.bind import Binder, BindError
from extender.pods import PodIdentity, bound_pod_of
from extender.wire import ExtenderBindingArgs
from gpu_topology.assignment import ASSIGNED_ANNOTATION
from gpu_topology.contract import Allocation
from kubernetes_api import ApiError, ConflictError, NotFoundError
from tests.extender.books_world import Machine, Pod, World
from tests.extender.builders import bridged, node, pod
from tests.extender.test_books_model import NAMES, SEQUENCES, STEPS, Books, NewPod, new_pods, pick
from tests.extender.test_ledger import free_gpus, ledger_of


class Answer(StrEnum):
    """What becomes of a binding."""

    WORKS = "it works"
    REFUSED = "the API server refuses"
    LOST_ON_THE_WAY_BACK = "it works, but nobody hears of it"
    LOST_ON_THE_WAY_THERE = "nobody hears of it at all"
    OVERTAKEN = "another scheduler has bound the pod a moment before"
    VANISHED = "the pod was removed a moment before"
    REPLACED = "the pod was removed a moment before, and there is another of its name"
    KILLED_BEFORE = "the extender is killed before it arrives"
    KILLED_AFTER = "the extender is killed after it has arrived"


DEFINITE = (Answer.REFUSED, Answer.OVERTAKEN, Answer.VANISHED, Answer.REPLACED)
"""After these the extender knows that it has not bound the pod."""
KILLED = (Answer.KILLED_BEFORE, Answer.KILLED_AFTER)


Try: TypeAlias = tuple[NewPod, bool, Answer]
tries = st.tuples(new_pods, st.booleans(), st.sampled_from([Answer.WORKS, Answer.WORKS, Answer.WORKS, *Answer]))
"""A new pod, whether the extender remembers what it asks for, and what becomes of the binding."""


class WorldApi:
    """The API server of a world, as the extender reaches it.

    Attributes:
        answer: what becomes of the next binding.
        bindings: how often each UID was really bound.
        waits: set while a binding waits for an answer that never comes.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.answer = Answer.WORKS
        self.bindings: Counter[str] = Counter()
        self.waits = asyncio.Event()

    async def get_pod(self, namespace: str, name: str) -> dict[str, Any]:
        """One pod."""
        pod = self._world.pods.get(name)
        if pod is None:
            raise NotFoundError(f"{namespace}/{name} not found", 404)
        return pod.json()

    async def bind_pod(  # noqa: PLR0913  what a Binding has
        self, namespace: str, name: str, *, uid: str, node: str, annotations: Mapping[str, str], seconds: float
    ) -> None:
        """Bind a pod, or whatever else `answer` says."""
        answer, self.answer = self.answer, Answer.WORKS
        self._overtake(name, node, answer)
        if answer is Answer.REFUSED:
            raise ApiError("etcd has no leader", 500)
        if answer not in (Answer.LOST_ON_THE_WAY_THERE, Answer.KILLED_BEFORE):
            self._bind(namespace, name, uid, node, annotations)
        if answer in KILLED:
            self.waits.set()
            await asyncio.Event().wait()
        if answer in (Answer.LOST_ON_THE_WAY_THERE, Answer.LOST_ON_THE_WAY_BACK):
            raise ApiError(f"no answer within {seconds} s")

    def _overtake(self, name: str, node: str, answer: Answer) -> None:
        pod = self._world.pods.get(name)
        if pod is None:
            return
        if answer in (Answer.VANISHED, Answer.REPLACED):
            self._world.remove_pod(pod)
        if answer is Answer.REPLACED:
            self._world.create(replace(pod, node="", record=None, phase="Pending"))
        if answer is Answer.OVERTAKEN and not pod.node:
            self._world.write_pod(replace(pod, node=node))

    def _bind(self, namespace: str, name: str, uid: str, node: str, annotations: Mapping[str, str]) -> None:
        pod = self._world.pods.get(name)
        if pod is None:
            raise NotFoundError(f"{namespace}/{name} not found", 404)
        if pod.uid != uid or pod.node or pod.deleting:
            raise ConflictError(f"{namespace}/{name} is bound already, or another one", 409)
        self.bindings[uid] += 1
        self._world.write_pod(replace(pod, node=node, record=annotations.get(ASSIGNED_ANNOTATION)))


class WhereTheExtenderBinds(Books):
    """Nodes that give a pod exactly what is recorded, and one that does not."""

    machines: ClassVar = {
        "m": Machine(bridged(4), Allocation.VENDOR),
        "n": Machine(bridged(6), Allocation.BEST),
    }
    binds: ClassVar = True

    @initialize(seed=st.integers(0, 2**16), pods=st.lists(new_pods, max_size=4))
    def begin(self, seed: int, pods: list[NewPod]) -> None:
        self.loop = asyncio.new_event_loop()
        self.tried: dict[str, Pod] = {}
        super().begin(seed, pods)

    def teardown(self) -> None:
        self._end_tasks()
        self.loop.close()

    @rule(tries=st.lists(tries, min_size=1, max_size=4))
    def bind_through_the_extender(self, tries: list[Try]) -> None:
        """kube-scheduler asks for it, for a new pod or for one that waits, where the counts suffice."""
        for new, remembered, answer in tries:
            node, containers, wishes, seconds = new
            if "cannot be read" in wishes.values():
                continue  # filter has refused it
            self.now += seconds
            unused = [name for name in NAMES if name not in self.world.pods]
            if unused:
                self.world.create(Pod(unused[0], "", "", containers, wishes, self.now))
            # Pods without GPUs it binds itself.
            waiting = [pod for _, pod in sorted(self.world.pods.items()) if not pod.node and pod.request.total]
            to = pick(sorted(self.machines), node)
            if waiting and self.world.has_room(to, waiting[0].request.total):
                self._ask_to_bind(waiting[0], to, answer, remembered=remembered)

    @invariant()
    def no_pod_is_bound_twice(self) -> None:
        """However often it was asked for."""
        assert not any(count > 1 for count in self.api.bindings.values())

    @invariant()
    def what_is_promised_by_identity_is_promised_once(self) -> None:
        """Among the pods that live, as long as their node can keep it: nobody else has got these GPUs meanwhile."""
        promised: set[tuple[str, int]] = set()
        for bound in self.world.bound_pods.values():
            kubelet = self.world.kubelets[bound.node]
            recorded, others = kubelet.recorded(bound), kubelet.taken - kubelet.given(bound.uid)
            if bound.has_ended or kubelet.given(bound.uid) not in (frozenset(), recorded):
                continue
            if recorded & (others | kubelet.unusable) or not recorded:
                continue
            own = {(bound.node, gpu) for gpu in recorded}
            assert not promised & own
            promised |= own

    @rule()
    def settle(self) -> None:
        """As ever; and the extender finds out what became of the pods that it is in doubt about."""
        self.everything_arrives()
        self.loop.run_until_complete(asyncio.wait_for(self.binder.settled(), timeout=10))
        assert not self._reserved()
        super().settle()

    def _ask_to_bind(self, pod: Pod, to: str, answer: Answer, *, remembered: bool) -> None:
        """Ask once; and where that works once more, as kube-scheduler may."""
        self.tried[pod.uid] = replace(pod, node=to)
        args = ExtenderBindingArgs("team", pod.name, pod.uid, to)
        self.api.answer = answer
        binding = self.loop.create_task(self.binder.bind(args, pod.request if remembered else None))
        if answer in KILLED and self._waits_for(binding):
            self._restart()
            return
        error = self._error_of(binding)
        self.api.answer = Answer.WORKS
        identity = PodIdentity(pod.key, pod.uid)
        now = self.world.pods.get(pod.name)
        if error is None:
            assert now is not None
            assert (now.uid, now.node) == (pod.uid, to)
            again = self.loop.create_task(self.binder.bind(args, pod.request if remembered else None))
            assert self._error_of(again) is None
        elif answer in DEFINITE:
            assert not self.ledger.is_reserved(identity)

    def _restart(self) -> None:
        self._end_tasks()
        super()._restart()
        self.tried.clear()
        self.api = WorldApi(self.world)
        self.binder = Binder(self.ledger, self.api, doubt_seconds=0)

    def _reserved(self) -> list[Pod]:
        return [pod for pod in self.tried.values() if self.ledger.is_reserved(PodIdentity(pod.key, pod.uid))]

    def _waits_for(self, binding: "asyncio.Task[Any]") -> bool:
        """Whether a binding gets as far as waiting for an answer that does not come."""

        async def first() -> bool:
            waits = asyncio.ensure_future(self.api.waits.wait())
            done, _ = await asyncio.wait({waits, binding}, return_when=asyncio.FIRST_COMPLETED)
            waits.cancel()
            return waits in done

        return self.loop.run_until_complete(first())

    def _error_of(self, binding: "asyncio.Task[Any]") -> BindError | None:
        try:
            self.loop.run_until_complete(binding)
        except BindError as error:
            return error
        return None

    def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))


def test_the_books_hold_where_the_extender_binds() -> None:
    """Where CI=true always the same histories are made up, so that a failure is the change's own."""
    run_state_machine_as_test(
        WhereTheExtenderBinds,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=os.environ.get("CI") == "true",
        ),
    )


def test_a_pod_that_is_being_bound_counts_though_its_namesake_is_still_in_the_books() -> None:
    """A stateful set's pod is made anew and scheduled before the extender's watch has shown the old one's end."""
    ledger = ledger_of(node("n", bridged(4)), node("m", bridged(4)), pod("web-0", 2, on="n", uid="old"))
    new = bound_pod_of(pod("web-0", 2, on="m", uid="new"))
    assert new is not None
    ledger.reserve(new)
    assert (free_gpus(ledger, "n"), free_gpus(ledger, "m")) == ([0, 1, 2, 3], [2, 3])
    ledger.reserve(replace(new, node="n"))
    assert (free_gpus(ledger, "n"), free_gpus(ledger, "m")) == ([2, 3], [0, 1, 2, 3])
    ledger.forget_pod("team/web-0", "old")
    assert free_gpus(ledger, "n") == [2, 3]
    ledger.release(new.identity)
    assert free_gpus(ledger, "n") == [0, 1, 2, 3]
