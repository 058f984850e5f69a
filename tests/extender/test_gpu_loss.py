"""Which pods hold lost GPUs, and when they are evicted."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from extender.gpu_loss import MOST_TRIES, Loss, LossBook, Outcome, is_hit, is_storm, losses_on
from extender.ledger import Ledger
from extender.pods import BoundPod, PodIdentity, bound_pod_of
from gpu_topology.cordon import CORDONED
from gpu_topology.health import NOT_OFFERED
from gpu_topology.request import GpuRequest
from gpu_topology.slices import SliceHolder, SlicePool
from tests.extender.builders import bare_node, bridged, holder, node, pod, sliced_pod

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
XID = "XID 79: the GPU has fallen off the bus"
PATIENCE = timedelta(seconds=30)


def lost_by(pods: list[dict[str, Any]], **state: Any) -> list[Loss]:
    """The losses of pods on a node that reports this."""
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(4), **state)])
    ledger.replace_pods(pods)
    page = ledger.book("n")
    assert page is not None
    return losses_on(page, [bound for each in pods if (bound := bound_pod_of(each))])


def gpus_lost(pods: list[dict[str, Any]], **state: Any) -> dict[str, list[str]]:
    return {loss.pod.identity.key: list(loss.gpus) for loss in lost_by(pods, **state)}


def test_who_is_reported_to_hold_a_lost_gpu_is_found_and_nobody_else() -> None:
    pods = [pod("hit", 2, on="n"), pod("neighbour", 1, on="n")]
    held = [holder("hit", [0, 1]), holder("neighbour", [2])]
    (loss,) = lost_by(pods, held=held, unhealthy={1: XID, 3: XID})
    assert (loss.pod.identity.key, loss.gpus) == ("team/hit", {"GPU-1": XID})


def test_a_pod_that_is_only_expected_on_a_gpu_is_left_alone() -> None:
    """However surely: the report does not name it."""
    assert gpus_lost([pod("new", 4, on="n")], unhealthy={0: XID}) == {}


def test_an_earlier_pod_of_the_name_is_somebody_else() -> None:
    held = [holder("trainer", [0], uid="uid-of-the-one-before")]
    assert gpus_lost([pod("trainer", 1, on="n")], held=held, unhealthy={0: XID}) == {}


@pytest.mark.parametrize("why", [CORDONED, NOT_OFFERED])
def test_a_gpu_that_is_put_aside_is_not_lost(why: str) -> None:
    """By a person, or because the device plugin is away: whoever holds it computes on."""
    assert gpus_lost([pod("trainer", 1, on="n")], held=[holder("trainer", [0])], unhealthy={0: why}) == {}


def test_a_stale_report_proves_nothing() -> None:
    held = [holder("trainer", [0])]
    assert gpus_lost([pod("trainer", 1, on="n")], held=held, unhealthy={0: XID}, stale="NVML is away") == {}


@pytest.mark.parametrize(("named", "found"), [("GPU-0", {"team/trainer": ["GPU-0"]}), ("GPU-2", {})])
def test_the_pods_own_status_can_clear_it(named: str, found: dict[str, list[str]]) -> None:
    """Where it names other GPUs than the report, the report is of an earlier pod of the name."""
    trainer = pod("trainer", 1, on="n")
    resources = [{"name": "nvidia.com/gpu", "resources": [{"resourceID": named, "health": "Healthy"}]}]
    trainer["status"]["containerStatuses"] = [{"name": "c0", "allocatedResourcesStatus": resources}]
    assert gpus_lost([trainer], held=[holder("trainer", [0])], unhealthy={0: XID}) == found


def test_a_slice_of_a_lost_gpu_is_lost_too() -> None:
    mig = "nvidia.com/mig-1g.10gb"
    state: dict[str, Any] = {
        "slices": (SlicePool(mig, 1, 7, 0),),
        "held_slices": (SliceHolder("team/notebook", "c0", mig, 1, 1),),
        "unhealthy": {1: XID},
    }
    assert gpus_lost([sliced_pod("notebook", slices={mig: 1}, on="n")], **state) == {"team/notebook": ["GPU-1"]}


@pytest.mark.parametrize(("held", "hit"), [([0], True), ([1], False)])
def test_a_node_is_hit_where_somebody_holds_the_lost_gpu(held: list[int], *, hit: bool) -> None:
    """One that is broken for months and that nobody holds is no part of a storm."""
    ledger = Ledger()
    ledger.replace_nodes([node("n", bridged(4), held=[holder("x", held)], unhealthy={0: XID}), bare_node("silent")])
    assert [is_hit(page) for name in ("n", "silent") if (page := ledger.book(name))] == [hit, False]


@pytest.mark.parametrize(("hit", "nodes", "storm"), [(1, 1, False), (2, 9, True), (2, 10, False), (3, 10, True)])
def test_more_than_a_fifth_of_the_nodes_is_a_storm(hit: int, nodes: int, *, storm: bool) -> None:
    """One node may always be hit."""
    assert is_storm(hit, nodes) is storm


def loss_of(name: str) -> Loss:
    return Loss(BoundPod(PodIdentity(f"team/{name}", name), "n", GpuRequest(), ""), {"GPU-0": XID})


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def due(book: LossBook, seconds: float) -> list[str]:
    return [loss.pod.identity.uid for loss in book.due(after(seconds))]


def test_a_loss_that_flaps_evicts_nobody() -> None:
    book = LossBook(PATIENCE, 10)
    for second in range(0, 200, 20):
        book.see([loss_of("a")], after(second))
        assert due(book, second + 9) == []
        book.see([], after(second + 10))
    book.see([loss_of("a")], after(200))
    assert due(book, 229.9) == []
    assert due(book, 230) == ["a"]


def test_so_many_a_minute_and_those_that_wait_longest_first() -> None:
    book = LossBook(PATIENCE, 2)
    book.see([loss_of("late")], after(0))
    book.see([loss_of("late"), loss_of("later"), loss_of("latest")], after(1))
    assert due(book, 40) == ["late", "later"]
    for uid in ("late", "later"):
        assert not book.note(uid, Outcome.EVICTED, after(40))
    assert due(book, 99.9) == []
    assert due(book, 100) == ["latest"]


def test_a_pod_that_may_not_be_evicted_yet_is_tried_again_ever_more_seldom_then_given_up() -> None:
    book = LossBook(PATIENCE, 10)
    book.see([loss_of("a")], NOON)
    tries: list[datetime] = []
    now = NOON
    while now < NOON + timedelta(hours=4):
        if book.due(now):
            tries.append(now)
            assert book.note("a", Outcome.REFUSED, now) is (len(tries) < MOST_TRIES)
        now += timedelta(seconds=5)
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(tries)]
    assert pauses[:6] == [10, 20, 40, 80, 160, 300]
    assert set(pauses[5:]) == {300}
    assert len(tries) == MOST_TRIES


def test_a_doubt_begins_the_time_anew() -> None:
    book = LossBook(PATIENCE, 10)
    book.see([loss_of("a")], NOON)
    assert due(book, 30) == ["a"]
    book.doubt("a")
    book.see([loss_of("a")], after(31))
    assert due(book, 60) == []
    assert due(book, 61) == ["a"]


class Histories(RuleBasedStateMachine):
    """Made-up histories, in which every rule is checked on each pod that is said to be due."""

    names = st.sampled_from(["a", "b", "c", "d", "e"])

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.book = LossBook(PATIENCE, 2)
        self.since: dict[str, datetime] = {}
        self.evicted: dict[str, datetime] = {}
        self.refused_at: dict[str, datetime] = {}

    @rule(seconds=st.integers(1, 45))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(names=st.sets(names))
    def hold_lost_gpus(self, names: set[str]) -> None:
        self.book.see(map(loss_of, names), self.now)
        self.since = {name: self.since.get(name, self.now) for name in names}

    @precondition(lambda self: self.book.due(self.now))
    @rule(outcome=st.sampled_from([Outcome.EVICTED, Outcome.REFUSED]))
    def try_the_first(self, outcome: Outcome) -> None:
        uid = self.book.due(self.now)[0].pod.identity.uid
        assert self.book.note(uid, outcome, self.now) is (outcome is Outcome.REFUSED)
        if outcome is Outcome.EVICTED:
            self.evicted[uid] = self.now
        else:
            self.refused_at[uid] = self.now

    @invariant()
    def only_those_are_due_for_whom_it_is_time(self) -> None:
        uids = {loss.pod.identity.uid for loss in self.book.due(self.now)}
        lately = [at for at in self.evicted.values() if at > self.now - timedelta(minutes=1)]
        assert len(uids) + len(lately) <= 2
        assert uids.isdisjoint(self.evicted)
        assert all(self.now - self.since[uid] >= PATIENCE for uid in uids)
        assert all(self.now - self.refused_at.get(uid, NOON) >= timedelta(seconds=10) for uid in uids)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Whoever has held a lost GPU for long enough, and was never tried, is due as far as the rate goes."""
        waiting = {
            name
            for name, since in self.since.items()
            if self.now - since >= PATIENCE and name not in self.evicted and name not in self.refused_at
        }
        lately = [at for at in self.evicted.values() if at > self.now - timedelta(minutes=1)]
        assert len(self.book.due(self.now)) >= min(len(waiting), 2 - len(lately))


TestHistories = Histories.TestCase
