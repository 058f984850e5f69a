from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from extender.groups import Group, Unknown
from extender.places import Places

NAMES = [f"node-{number}" for number in range(12)]
GROUPS = [Unknown(f"reason {number}") for number in range(4)]

MOVES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([*GROUPS, None])), max_size=40)


def told(moves: list[tuple[str, Group | None]]) -> tuple[Places, dict[str, Group]]:
    places, truth = Places(), dict[str, Group]()
    for name, group in moves:
        if group is None:
            places.remove(name)
            truth.pop(name, None)
        else:
            places.put(name, group)
            truth[name] = group
    return places, truth


@given(MOVES, st.lists(st.sampled_from(NAMES), unique=True))
def test_candidates_are_sorted_into_the_groups_that_their_nodes_are_in_now(
    moves: list[tuple[str, Group | None]], names: list[str]
) -> None:
    places, truth = told(moves)
    found = {name: group for group, nodes in places.among(names) for name in nodes}
    assert found == {name: truth.get(name, places.group_of("nobody")) for name in names}


@given(MOVES, st.lists(st.sampled_from(NAMES), unique=True))
def test_no_candidate_is_named_twice(moves: list[tuple[str, Group | None]], names: list[str]) -> None:
    places, _ = told(moves)
    assert Counter(name for _, nodes in places.among(names) for name in nodes) == Counter(names)


def test_a_group_that_its_last_node_has_left_is_forgotten() -> None:
    """Groups are kept alive by those who are in them: what placement found out about them is large."""
    places = Places()
    places.put("a", GROUPS[0])
    places.put("a", GROUPS[1])
    assert [group for group, _ in places.among(["a", "b"])] == [GROUPS[1], places.group_of("b")]
    assert places._members.keys() == {GROUPS[1]}
