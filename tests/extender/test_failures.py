"""From failures to standings: what leaves a node out, what brings it back, and what must never do so."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from extender.failures import (
    FAILURES_PER_NODE,
    MEMORY,
    MOST_SHARE,
    OWNER_NODES,
    WINDOW,
    FailureBook,
    Standing,
    Verdict,
    count_standings,
)
from extender.outcomes import Failure, FailureReason, Success

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PAUSE = 15 * MINUTE


def refused(pod: str, minute: float = 0, *, node: str = "n", owner: str | None = None) -> Failure:
    """The kubelet refused a pod so many minutes after noon."""
    reason = FailureReason.UNEXPECTED_ADMISSION
    return Failure(node, pod, owner or f"owner-of-{pod}", reason, str(reason), NOON + minute * MINUTE)


def exited(pod: str, minute: float = 0, *, node: str = "n", owner: str | None = None) -> Failure:
    """A pod ended with an error right after its start."""
    at = NOON + minute * MINUTE
    return Failure(node, pod, owner or f"owner-of-{pod}", FailureReason.EARLY_EXIT, "exit code 1 after 2 s", at)


def ran(minute: float, *, node: str = "n", pod: str = "runner") -> Success:
    """A pod has run for long enough by then."""
    return Success(node, pod, NOON + minute * MINUTE)


def book_of(*outcomes: Failure | Success, threshold: int = 5) -> FailureBook:
    """A book that has taken note of these, each as soon as it happened."""
    book = FailureBook(threshold, PAUSE)
    for outcome in outcomes:
        book.record(outcome, outcome.at)
    return book


def verdict(book: FailureBook, minute: float, node: str = "n", nodes: int = 10) -> Verdict | None:
    """What is thought of a node at some time."""
    return book.verdicts(NOON + minute * MINUTE, lambda: nodes).get(node)


def standing(book: FailureBook, minute: float, node: str = "n", nodes: int = 10) -> Standing:
    """Its standing then."""
    found = verdict(book, minute, node, nodes)
    return found.standing if found else Standing.GOOD


def test_a_node_becomes_suspect_and_then_is_left_out() -> None:
    book = FailureBook(5, PAUSE)
    seen = []
    for number in range(5):
        book.record(refused(f"p{number}", number), NOON + number * MINUTE)
        seen.append(standing(book, number))
    assert seen == ["good", "good", "suspect", "suspect", "left-out"]


def test_the_reason_is_a_sentence_with_counts_and_the_end() -> None:
    owners = ("a", "b", "c", "a", "b")
    book = book_of(*(refused(f"p{number}", number, owner=owner) for number, owner in enumerate(owners)))
    assert verdict(book, 5) == Verdict(
        Standing.LEFT_OUT,
        "5 GPU pods of 3 owners failed here within 10 minutes, the last: UnexpectedAdmissionError; "
        "left out until 12:19 UTC",
        NOON + 19 * MINUTE,
    )


def test_pods_of_one_owner_that_are_refused_are_the_nodes_fault_at_once() -> None:
    book = book_of(*(refused(f"p{number}", owner="job") for number in range(5)))
    assert standing(book, 0) is Standing.LEFT_OUT


def test_one_owner_that_crashes_again_and_again_is_no_sign() -> None:
    book = book_of(*(exited(f"p{number}", number / 10, owner="job") for number in range(50)))
    assert standing(book, 5) is Standing.GOOD


def test_early_exits_count_once_for_each_owner() -> None:
    twice = [exited(f"p{number}", owner=owner) for number, owner in enumerate("abab")]
    assert standing(book_of(*twice, threshold=3), 0) is Standing.SUSPECT
    assert standing(book_of(*twice, exited("p5", owner="c"), threshold=3), 0) is Standing.LEFT_OUT


def test_old_failures_do_not_count() -> None:
    book = book_of(*(refused(f"p{number}", 4 * number) for number in range(12)))
    assert standing(book, 44) is Standing.SUSPECT
    assert standing(book, 56) is Standing.GOOD


def test_a_pod_that_runs_clears_the_standing() -> None:
    failures = [refused(f"p{number}", number) for number in range(5)]
    assert standing(book_of(*failures[:4], ran(3.5), failures[4]), 5) is Standing.GOOD
    assert standing(book_of(*failures, ran(6)), 6) is Standing.GOOD


def test_a_pod_that_has_just_started_clears_it_once_it_has_run_for_long_enough() -> None:
    book = book_of(*(refused(f"p{number}") for number in range(5)))
    book.record(ran(3), NOON + 2 * MINUTE)
    assert standing(book, 2.9) is Standing.LEFT_OUT
    assert book.next_change(NOON + 2 * MINUTE) == NOON + 3 * MINUTE
    assert standing(book, 3) is Standing.GOOD


def test_a_pod_that_is_deleted_or_fails_before_that_clears_nothing() -> None:
    gone = book_of(*(refused(f"p{number}") for number in range(5)))
    gone.record(ran(3), NOON + 2 * MINUTE)
    gone.end("runner", NOON + 2.5 * MINUTE)
    assert standing(gone, 4) is Standing.LEFT_OUT
    failed = book_of(*(refused(f"p{number}") for number in range(5)))
    failed.record(ran(3), NOON + 2 * MINUTE)
    failed.record(exited("runner", 2.5), NOON + 2.5 * MINUTE)
    assert standing(failed, 4) is Standing.LEFT_OUT


def test_after_the_pause_one_more_failure_is_enough_and_the_pause_doubles() -> None:
    book = book_of(*(refused(f"p{number}") for number in range(5)))
    assert standing(book, 14.9) is Standing.LEFT_OUT
    assert standing(book, 15) is Standing.PROBATION
    pauses, minute = [], 15.0
    for number in range(5):
        minute += 1
        book.record(refused(f"again-{number}", minute), NOON + minute * MINUTE)
        until = getattr(verdict(book, minute), "until", NOON)
        pauses.append((until - NOON) / MINUTE - minute)
        minute = (until - NOON) / MINUTE
    assert pauses == [30, 60, 120, 120, 120]
    assert "1 GPU pod failed here again, the last: UnexpectedAdmissionError; on probation since" in str(
        getattr(verdict(book, minute), "reason", "")
    )


def test_on_probation_one_broken_job_is_still_no_sign() -> None:
    book = book_of(*(refused(f"p{number}") for number in range(5)), exited("a", 16), exited("a", 17))
    assert standing(book, 18) is Standing.PROBATION
    book.record(exited("b", 19), NOON + 19 * MINUTE)
    assert standing(book, 19) is Standing.LEFT_OUT


def test_probation_ends_after_a_day_without_any_try() -> None:
    book = book_of(*(refused(f"p{number}") for number in range(5)))
    assert standing(book, 15 + MEMORY / MINUTE - 1) is Standing.PROBATION
    assert standing(book, 15 + MEMORY / MINUTE) is Standing.GOOD


def test_an_owner_that_fails_on_several_nodes_is_at_fault_itself() -> None:
    nodes = [f"n{number}" for number in range(OWNER_NODES)]
    book = FailureBook(2, PAUSE)
    for node in nodes[:-1]:
        for number in range(2):
            book.record(refused(f"{node}-{number}", node=node, owner="job"), NOON)
    assert standing(book, 0, nodes[0]) is Standing.LEFT_OUT
    assert not book.record(refused("last", node=nodes[-1], owner="job"), NOON)
    assert {standing(book, 0, node) for node in nodes} == {Standing.GOOD}
    assert not book.record(refused("more", 1, node=nodes[0], owner="job"), NOON + MINUTE)


def test_what_others_suffered_stays_when_an_owner_is_found_at_fault() -> None:
    book = FailureBook(4, PAUSE)
    for failure in (refused("a", node="n0", owner="good"), refused("b", node="n0", owner="fine")):
        book.record(failure, NOON)
    for number in range(OWNER_NODES):
        for again in range(2):
            book.record(refused(f"{number}-{again}", node=f"n{number}", owner="job"), NOON)
    assert standing(book, 0, "n0") is Standing.SUSPECT
    assert "2 GPU pods of 2 owners" in str(getattr(verdict(book, 0, "n0"), "reason", ""))


def test_no_more_than_a_share_of_the_nodes_is_left_out_those_that_failed_first() -> None:
    book = FailureBook(2, PAUSE)
    for node in range(6):
        for number in range(2):
            book.record(refused(f"{node}-{number}", node / 10, node=f"n{node}"), NOON + MINUTE)
    found = book.verdicts(NOON + MINUTE, lambda: 10)
    assert [node for node, each in found.items() if each.standing is Standing.LEFT_OUT] == ["n0", "n1"]
    assert found["n5"].standing is Standing.SUSPECT
    assert "so many nodes can hardly all be broken" in found["n5"].reason
    assert count_standings(found, 10) == {"good": 4, "suspect": 4, "left-out": 2, "probation": 0}


def test_one_node_may_be_left_out_of_however_few() -> None:
    book = book_of(*(refused(f"p{number}") for number in range(5)))
    assert standing(book, 0, nodes=1) is Standing.LEFT_OUT


def test_a_node_that_is_gone_is_forgotten() -> None:
    failures = [refused(f"p{number}") for number in range(5)]
    gone, replaced = book_of(*failures), book_of(*failures)
    gone.forget("n")
    replaced.keep_only(["another"])
    assert standing(gone, 0) is standing(replaced, 0) is Standing.GOOD


def test_what_lies_a_day_back_is_not_heeded() -> None:
    book = FailureBook(1, PAUSE)
    assert not book.record(refused("p"), NOON + MEMORY)
    assert standing(book, MEMORY / MINUTE) is Standing.GOOD


NODES, OWNERS = ["n0", "n1", "n2", "n3"], ["a", "b", "c"]
OUTCOMES = st.lists(
    st.builds(
        lambda kind, node, owner, number, minute: (
            ran(minute, node=node, pod=f"runner-{number}")
            if kind == "ran"
            else (refused if kind == "refused" else exited)(f"{owner}-{number}", minute, node=node, owner=owner)
        ),
        st.sampled_from(["refused", "refused", "exited", "ran"]),
        st.sampled_from(NODES),
        st.sampled_from(OWNERS),
        st.integers(0, 20),
        st.integers(0, 120),
    ),
    max_size=60,
)


def replayed(outcomes: Iterable[Failure | Success], threshold: int, now: datetime) -> FailureBook:
    """A book that an extender would have that starts now."""
    book = FailureBook(threshold, PAUSE)
    for outcome in sorted(outcomes, key=lambda each: (each.at, each.pod)):
        book.record(outcome, now)
    return book


@given(OUTCOMES, st.integers(1, 6), st.integers(0, 200), st.integers(1, 30))
def test_never_more_than_the_share_is_left_out(
    outcomes: list[Failure | Success], threshold: int, minute: int, nodes: int
) -> None:
    now = NOON + minute * MINUTE
    happened = [each for each in outcomes if each.at <= now]
    found = replayed(happened, threshold, now).verdicts(now, lambda: nodes)
    out = [each for each in found.values() if each.standing is Standing.LEFT_OUT]
    assert len(out) <= max(1, nodes * MOST_SHARE)
    assert all(each.until is not None and each.until > now for each in out)


@given(OUTCOMES, st.integers(1, 6), st.integers(0, 200))
def test_a_restart_finds_what_was_known_and_hearing_it_twice_changes_nothing(
    outcomes: list[Failure | Success], threshold: int, minute: int
) -> None:
    now = NOON + minute * MINUTE
    happened = sorted((each for each in outcomes if each.at <= now), key=lambda each: (each.at, each.pod))
    live = FailureBook(threshold, PAUSE)
    for outcome in happened:
        live.record(outcome, outcome.at)
        live.verdicts(outcome.at, lambda: 10)
    restarted = replayed(happened, threshold, now)
    assert restarted.verdicts(now, lambda: 10) == live.verdicts(now, lambda: 10)
    for outcome in happened:
        restarted.record(outcome, now)
    assert restarted.verdicts(now, lambda: 10) == live.verdicts(now, lambda: 10)


@given(st.lists(st.builds(exited, st.text("xyz", min_size=1), st.integers(0, 60), owner=st.just("job")), max_size=80))
def test_one_owners_crashes_never_touch_a_standing(outcomes: list[Failure]) -> None:
    now = NOON + 60 * MINUTE
    assert replayed(outcomes, 1, now).verdicts(now, lambda: 10) == {}


@given(OUTCOMES, st.integers(1, 6), st.integers(0, 200))
def test_a_standing_changes_only_when_it_was_said_to(
    outcomes: list[Failure | Success], threshold: int, minute: int
) -> None:
    now = NOON + minute * MINUTE
    book = replayed([each for each in outcomes if each.at <= now], threshold, now)
    before, due = book.verdicts(now, lambda: 10), book.next_change(now)
    later = now + 3 * MEMORY if due is None else due - timedelta(seconds=1)
    assert book.verdicts(max(now, later), lambda: 10) == before


def test_memory_stays_bounded() -> None:
    book = FailureBook(1000, PAUSE)
    for number in range(5 * FAILURES_PER_NODE):
        book.record(refused(f"p{number}", number / 1000), NOON + MINUTE)
    assert len(book._records["n"].failures) == FAILURES_PER_NODE
    assert book.verdicts(NOON + 2 * WINDOW, lambda: 10) == {}
    assert book._records == {}
