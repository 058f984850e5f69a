"""Bind: chosen, booked and written at once, and nothing left behind where that fails."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from extender.app import create_app
from extender.bind import Binder
from extender.ledger import Ledger
from extender.service import Service
from gpu_topology.assignment import ASSIGNED_ANNOTATION, Assignment, decode_assignment, encode_assignment
from gpu_topology.contract import Allocation
from tests.extender.builders import bare_node, bridged, holder, node, plain, pod, sliced_pod
from tests.extender.fake_pod_api import FakePodApi
from tests.extender.test_app import client_of
from tests.extender.test_ledger import free_gpus

SOON = 0.001
"""Seconds until what became of a pod is looked up."""


class Extender:
    """An extender that binds, with the books of two bridged nodes, before an API server of pods.

    Attributes:
        ledger: its books, which see no pod unless `watch` is called.
        api: the API server.
    """

    def __init__(self, *pods: dict[str, Any], nodes: list[dict[str, Any]] | None = None) -> None:
        self.api = FakePodApi(*pods)
        self.nodes = nodes or [node("a", bridged(4)), node("b", bridged(4))]
        self.restart()

    def restart(self) -> None:
        """Forget everything, and read anew what the API server has."""
        self.ledger = Ledger(trusts_records=True)
        self.ledger.replace_nodes(self.nodes)
        self.watch()
        self.binder = Binder(self.ledger, self.api, doubt_seconds=SOON)
        self.client = client_of(create_app(Service(self.ledger, binder=self.binder)))

    def watch(self) -> None:
        """Let the books see the pods as they are."""
        self.ledger.replace_pods([pod for pod in self.api.pods() if "nodeName" in pod["spec"]])

    async def bind(self, name: str, to: str, **changes: str) -> str:
        """The error that kube-scheduler gets; "" where the pod was bound."""
        asked = {"PodNamespace": "team", "PodName": name, "PodUID": f"uid-of-{name}", "Node": to} | changes
        return str((await self.client.post("/bind", json=asked)).raise_for_status().json()["Error"])

    async def record(self, name: str) -> Assignment:
        """What is recorded on a pod."""
        return decode_assignment((await self.api.get_pod("team", name))["metadata"]["annotations"][ASSIGNED_ANNOTATION])

    async def node_of(self, name: str) -> str | None:
        return (await self.api.get_pod("team", name))["spec"].get("nodeName")  # type: ignore[no-any-return]


@pytest.fixture
async def extender() -> AsyncIterator[Extender]:
    extender = Extender(pod("x", 2), pod("y", 2), pod("z", 2))
    yield extender
    await extender.client.aclose()
    await extender.binder.close()


async def test_a_pod_is_bound_with_the_record_of_its_gpus(extender: Extender) -> None:
    assert await extender.bind("x", "a") == ""
    assert await extender.node_of("x") == "a"
    assert await extender.record("x") == Assignment(
        "uid-of-x", "a", (("c0", ("GPU-0", "GPU-1")),), bandwidth_gbps=56.0, enforced=True
    )


async def test_it_is_booked_at_once_and_the_next_gets_other_gpus(extender: Extender) -> None:
    """Before any watch has shown the first."""
    await extender.bind("x", "a")
    assert free_gpus(extender.ledger, "a") == [2, 3]
    await extender.bind("y", "a")
    assert (await extender.record("y")).containers == (("c0", ("GPU-2", "GPU-3")),)
    assert "cannot serve team/z any more: 0 of 4 GPUs free" in await extender.bind("z", "a")


async def test_two_that_come_at_the_same_moment_get_different_gpus(extender: Extender) -> None:
    """The API server takes its time over both."""
    extender.api.gate.clear()
    both = asyncio.gather(extender.bind("x", "a"), extender.bind("y", "a"))
    await asyncio.sleep(0)
    extender.api.gate.set()
    assert tuple(await both) == ("", "")
    chosen = [dict((await extender.record(name)).containers)["c0"] for name in "xy"]
    assert sorted(chosen) == [("GPU-0", "GPU-1"), ("GPU-2", "GPU-3")]


async def test_where_the_vendor_chooses_the_record_says_that_it_is_a_prediction() -> None:
    extender = Extender(pod("x", 2), nodes=[node("a", bridged(4), allocation=Allocation.VENDOR)])
    assert await extender.bind("x", "a") == ""
    assert not (await extender.record("x")).enforced


async def test_a_record_is_booked_after_a_restart_as_it_was_before(extender: Extender) -> None:
    await extender.bind("x", "a")
    await extender.bind("y", "b")
    before = [free_gpus(extender.ledger, name) for name in "ab"]
    extender.restart()
    assert [free_gpus(extender.ledger, name) for name in "ab"] == before
    book = extender.ledger.book("a")
    assert book is not None
    assert book.exclusive == {"team/x"}


async def test_a_pod_that_is_not_remembered_is_looked_up(extender: Extender) -> None:
    """Filter asked the extender before its restart."""
    extender.api.create(pod("w", 2, require="numa"))
    assert "its GPUs" not in await extender.bind("w", "a")
    assert await extender.bind("nobody", "a") == "team/nobody is gone"


async def test_asked_twice_it_binds_once(extender: Extender) -> None:
    """kube-scheduler gave up on the first answer."""
    assert [await extender.bind("x", "a"), await extender.bind("x", "a")] == ["", ""]
    extender.watch()
    assert await extender.bind("x", "a") == ""
    assert free_gpus(extender.ledger, "a") == [2, 3]
    assert "team/x is bound to a already" in await extender.bind("x", "b")


async def test_asked_again_while_it_binds_it_answers_both_with_one_binding(extender: Extender) -> None:
    extender.api.gate.clear()
    both = asyncio.gather(extender.bind("x", "a"), extender.bind("x", "a"))
    await asyncio.sleep(0)
    extender.api.gate.set()
    assert (*await both, extender.api.bindings) == ("", "", 1)


async def test_after_a_lost_answer_the_next_try_finds_the_pod_bound(extender: Extender) -> None:
    """The record is the first one, whatever has become free since."""
    extender.api.lost.append(True)
    assert "not known whether team/x was bound" in await extender.bind("x", "a")
    assert free_gpus(extender.ledger, "a") == [2, 3]
    first = await extender.record("x")
    extender.ledger.apply_node(node("a", bridged(4), held=[holder("other", [0])], sequence=2))
    assert await extender.bind("x", "a") == ""
    assert await extender.record("x") == first


async def test_after_a_binding_that_never_arrived_nothing_stays_reserved(extender: Extender) -> None:
    extender.api.lost.append(False)
    assert "not known whether team/x was bound" in await extender.bind("x", "a")
    assert free_gpus(extender.ledger, "a") == [2, 3]
    await extender.binder.settled()
    assert free_gpus(extender.ledger, "a") == [0, 1, 2, 3]


async def test_a_pod_in_doubt_stays_reserved_while_the_api_server_is_away(extender: Extender) -> None:
    await extender.client.post("/filter", json={"Pod": pod("x", 2), "NodeNames": ["a"]})  # so that it is remembered
    extender.api.lost.append(True)
    extender.api.away = True
    assert "not known whether team/x was bound" in await extender.bind("x", "a")
    await asyncio.sleep(5 * SOON)
    assert free_gpus(extender.ledger, "a") == [2, 3]


async def test_a_pod_that_is_deleted_before_the_watch_shows_it_does_not_stay_reserved(extender: Extender) -> None:
    await extender.bind("x", "a")
    extender.api.delete("team", "x")
    await extender.binder.settled()
    assert free_gpus(extender.ledger, "a") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda extender: extender.api.delete("team", "x"), "team/x is gone"),
        (lambda extender: extender.api.create(pod("x", 2, uid="new")), "there is another pod of that name"),
        (lambda extender: extender.api.create(pod("x", 2, on="b")), "is bound to b already"),
        (lambda extender: extender.ledger.forget_node("a"), "node a is gone"),
        (lambda extender: extender.ledger.apply_node(bare_node("a")), None),
    ],
    ids=["pod gone", "another pod", "bound elsewhere", "node gone", "node unknown"],
)
async def test_what_has_changed_since_is_said_in_a_sentence(
    extender: Extender, prepare: Any, sentence: str | None
) -> None:
    """Nothing stays reserved on the node; one that has become unknown takes pods without wishes, as in filter."""
    await extender.client.post("/filter", json={"Pod": pod("x", 2), "NodeNames": ["a"]})
    prepare(extender)
    error = await extender.bind("x", "a")
    assert sentence in error if sentence else error == ""
    extender.watch()
    await extender.binder.settled()
    assert [each.identity.key for each in extender.ledger.pods_on("a")] == ([] if sentence else ["team/x"])


async def test_an_unknown_node_gets_no_pod_that_insists() -> None:
    extender = Extender(pod("x", 2, require="nvlink"), nodes=[bare_node("a")])
    assert "can promise nothing: the node has no annotation gpu-scheduler/topology" in await extender.bind("x", "a")


async def test_slices_are_booked_without_identities() -> None:
    extender = Extender(sliced_pod("x", slices={"nvidia.com/gpu.shared": 1}), nodes=[bare_node("a")])
    assert await extender.bind("x", "a") == ""
    assert ASSIGNED_ANNOTATION not in (await extender.api.get_pod("team", "x"))["metadata"]["annotations"]


async def test_pods_without_gpus_are_bound_too(extender: Extender) -> None:
    """Where managedResources is left out, kube-scheduler asks for them as well."""
    extender.api.create(pod("web", 0))
    assert (await extender.bind("web", "a"), await extender.node_of("web")) == ("", "a")
    assert await extender.bind("web", "a") == ""
    assert await extender.bind("web", "b") == "team/web is bound to a already"


async def test_a_pod_that_has_ended_is_not_bound_again(extender: Extender) -> None:
    await extender.bind("x", "a")
    extender.api.change("team", "x", phase="Failed")
    extender.restart()
    assert "does not bind team/x" in await extender.bind("x", "a")
    assert free_gpus(extender.ledger, "a") == [0, 1, 2, 3]


@pytest.mark.parametrize("changes", [{"PodName": ""}, {"Node": ""}])
async def test_a_malformed_request_is_refused_with_its_field(extender: Extender, changes: dict[str, str]) -> None:
    (field,) = changes
    assert f"{field} is empty, not a name" in await extender.bind("x", "a", **changes)


async def test_it_is_not_served_unless_asked_for() -> None:
    async with client_of(create_app(Service(Ledger()))) as client:
        assert (await client.post("/bind", json={})).status_code == httpx.codes.NOT_FOUND


async def test_an_extender_that_is_not_ready_binds_nothing() -> None:
    api, ledger = FakePodApi(pod("x", 2)), Ledger()
    service = Service(ledger, binder=Binder(ledger, api), waiting_for=lambda: "the list of pods")
    asked = b'{"PodNamespace": "team", "PodName": "x", "PodUID": "uid-of-x", "Node": "a"}'
    assert b"still waiting for the list of pods" in await service.bind(asked)
    assert api.bindings == 0


# What is recorded on pods, in the books.


def recorded(name: str, gpus: list[int], *, on: str = "a", enforced: bool = True, **about: Any) -> dict[str, Any]:
    """A bound pod with a record, about this pod unless said otherwise."""
    containers = (("c0", tuple(f"GPU-{gpu}" for gpu in gpus)),)
    assignment = replace(Assignment(f"uid-of-{name}", on, containers, None, enforced), **about)
    bound = pod(name, len(gpus), on=on)
    bound["metadata"]["annotations"][ASSIGNED_ANNOTATION] = encode_assignment(assignment)
    return bound


def books(*pods: dict[str, Any], trusts_records: bool = True, **state: Any) -> Ledger:
    ledger = Ledger(trusts_records=trusts_records)
    ledger.replace_nodes([node("a", plain(4), **state)])
    ledger.replace_pods(pods)
    return ledger


def test_a_recorded_set_is_booked_as_it_is_recorded() -> None:
    assert free_gpus(books(recorded("x", [1, 3])), "a") == [0, 2]


def test_where_records_are_not_trusted_they_count_for_nothing() -> None:
    """Whoever may create a pod could have written it."""
    assert free_gpus(books(recorded("x", [1, 3]), trusts_records=False), "a") == [2, 3]


@pytest.mark.parametrize("copied_from", [{"pod_uid": "another"}, {"node": "b"}])
def test_a_record_that_was_copied_from_another_pod_counts_for_nothing(copied_from: dict[str, Any]) -> None:
    assert free_gpus(books(recorded("x", [1, 3], **copied_from)), "a") == [2, 3]


def test_recorded_sets_are_booked_before_sets_that_are_expected() -> None:
    """Whichever was bound first: the recorded ones are fixed."""
    early = pod("early", 2, on="a", scheduled_at="2025-01-01T00:00:00Z")
    book = books(early, recorded("x", [0, 1])).book("a")
    assert book is not None
    assert book.expected == {"team/x": 0b0011, "team/early": 0b1100}
    assert book.exclusive == {"team/x"}


def test_a_record_that_others_already_hold_gives_way_to_what_can_be_had() -> None:
    """The report rules."""
    ledger = books(recorded("x", [0, 1]), held=[holder("other", [1])])
    book = ledger.book("a")
    assert book is not None
    assert (book.expected, book.exclusive) == ({"team/x": 0b0101}, frozenset())


def test_a_prediction_is_never_exclusive() -> None:
    book = books(recorded("x", [1, 3], enforced=False), allocation=Allocation.VENDOR).book("a")
    assert book is not None
    assert (book.expected, book.exclusive) == ({"team/x": 0b1010}, frozenset())


@pytest.mark.parametrize("record", ["", "{}", "null", '{"version": 2}', '{"main": ["GPU-0"]}'])
def test_an_unreadable_record_counts_as_none(record: str) -> None:
    bound = pod("x", 2, on="a")
    bound["metadata"]["annotations"][ASSIGNED_ANNOTATION] = record
    assert free_gpus(books(bound), "a") == [2, 3]
