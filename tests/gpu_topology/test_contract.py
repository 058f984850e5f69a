"""The annotation contract: what is written is what is read, and nothing else is read."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.annotation import MAX_ANNOTATION_BYTES
from gpu_topology.assignment import Assignment, decode_assignment, encode_assignment
from gpu_topology.contract import (
    NodeState,
    check_state,
    decode_state,
    decode_topology,
    encode_state,
    encode_topology,
    topology_hash,
)
from gpu_topology.errors import ContractError, ForeignVersionError, MalformedError, OversizedError
from gpu_topology.links import PcieAncestor
from gpu_topology.slices import SlicePool
from gpu_topology.topology import Gpu, NodeTopology
from tests.gpu_topology.strategies import assignments, states, topologies

PAIR = NodeTopology(
    gpus=(Gpu(uuid="GPU-a"), Gpu(uuid="GPU-b")),
    pcie=((None, PcieAncestor.PIX), (PcieAncestor.PIX, None)),
    nvlinks=((0, 4), (4, 0)),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(topologies())
def test_a_topology_survives_the_annotation(topology: NodeTopology) -> None:
    """Encode and decode are inverse."""
    assert decode_topology(encode_topology(topology)) == topology


@given(states())
def test_a_state_survives_the_annotation(state: NodeState) -> None:
    """Encode and decode are inverse, and unknown stays apart from empty."""
    assert decode_state(encode_state(state)) == state


@given(assignments())
def test_a_record_of_a_choice_survives_the_annotation(assignment: Assignment) -> None:
    """Encode and decode are inverse."""
    assert decode_assignment(encode_assignment(assignment)) == assignment


@given(topologies())
def test_equal_topologies_have_equal_annotations(topology: NodeTopology) -> None:
    """So that a reader may share what it has decoded, and the hash names the hardware."""
    again = decode_topology(encode_topology(topology))
    assert encode_topology(again) == encode_topology(topology)


def test_a_topology_from_before_peer_access_was_asked_for_does_not_know_it() -> None:
    """Such an annotation is the one that is written today where nothing is known, byte for byte."""
    text = encode_topology(PAIR)
    assert "p2p" not in text
    assert decode_topology(text).p2p == ((None, None), (None, None))


def test_peer_access_that_is_known_in_part_stands_in_the_annotation() -> None:
    known = replace(PAIR, p2p=((None, False), (False, None)))
    assert json.loads(encode_topology(known))["p2p"] == [[None, False], [False, None]]


@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_foreign_text_is_refused_with_a_typed_error(text: str) -> None:
    """Whatever stands in the annotation, the reader gets an error of ours."""
    for decode in (decode_topology, decode_state, decode_assignment):
        with pytest.raises(ContractError):
            decode(text)


@given(topologies(max_gpus=3), st.data())
def test_a_truncated_annotation_is_refused(topology: NodeTopology, data: st.DataObject) -> None:
    """No prefix of a value is a value."""
    text = encode_topology(topology)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(MalformedError):
        decode_topology(text[:cut])


@given(states(), st.data(), json_values)
def test_a_field_of_another_type_is_refused_or_means_the_same(
    state: NodeState, data: st.DataObject, value: object
) -> None:
    """A mutated document never yields anything but an error or what it literally says."""
    document = json.loads(encode_state(state))
    key = data.draw(st.sampled_from(sorted(document)))
    document[key] = value
    try:
        decoded = decode_state(json.dumps(document))
    except ContractError:
        return
    assert json.loads(encode_state(decoded)) == document


@pytest.mark.parametrize("field", ["version", "gpus", "devices", "pcie", "nvlinks", "nvswitch", "nics"])
def test_a_missing_field_is_named(field: str) -> None:
    """Absent is not empty: a reader does not fill in what the writer left out."""
    document = json.loads(encode_topology(PAIR))
    del document[field]
    with pytest.raises(MalformedError, match=rf"gpu-scheduler/topology: {field}: Field required"):
        decode_topology(json.dumps(document))


def test_keys_of_the_future_are_ignored() -> None:
    """An agent that is newer than the extender may add keys within the version."""
    document = json.loads(encode_topology(PAIR)) | {"temperature": 40}
    assert decode_topology(json.dumps(document)) == PAIR


@pytest.mark.parametrize("version", [0, 2, "1", 1.5])
def test_a_foreign_version_is_said_to_be_one(version: object) -> None:
    """The version explains every other misfit, so it is reported first."""
    document: dict[str, Any] = {"version": version}
    with pytest.raises(ForeignVersionError, match="this program reads version 1"):
        decode_topology(json.dumps(document))


def test_an_oversized_value_is_refused_unread() -> None:
    """Nothing larger than what the API server takes can have come from it."""
    with pytest.raises(OversizedError, match=str(MAX_ANNOTATION_BYTES)):
        decode_state(" " * (MAX_ANNOTATION_BYTES + 1))


def test_an_oversized_state_is_not_written() -> None:
    """The agent learns it before the API server refuses the whole patch."""
    with pytest.raises(OversizedError):
        encode_state(NodeState(topology_hash="0" * 16, sequence=0, free=(), stale="x" * MAX_ANNOTATION_BYTES))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pcie": [["X", "PIX"], ["SYS", "X"]]}, "linked by PIX one way and SYS the other"),
        ({"pcie": [["X", "X"], ["X", "X"]]}, "on its diagonal and nowhere else"),
        ({"pcie": [["X"]]}, "not 2 x 2"),
        ({"nvlinks": [[1, 4], [4, 0]]}, "linked to itself"),
        ({"p2p": [[None, True], [False, None]]}, "p2p: GPU 0 and GPU 1 are linked by True one way and False the other"),
        ({"p2p": [[None]]}, "p2p: not 2 x 2"),
        ({"gpus": 3}, "gpus is 3, but 2 devices are listed"),
        ({"nvlinks": [[0, -1], [-1, 0]]}, "nvlinks.0.1"),
    ],
)
def test_a_topology_that_contradicts_itself_is_refused(change: dict[str, Any], sentence: str) -> None:
    """The sentence says where."""
    with pytest.raises(MalformedError, match=sentence):
        decode_topology(json.dumps(json.loads(encode_topology(PAIR)) | change))


def test_a_gpu_is_not_both_free_and_held() -> None:
    """Such a state promises one GPU twice."""
    text = json.dumps(
        json.loads(encode_state(NodeState(topology_hash="0" * 16, sequence=0, free=(0,)))) | {"unhealthy": {"0": "x"}}
    )
    with pytest.raises(MalformedError, match="GPU 0 is said to be free and yet held or unhealthy"):
        decode_state(text)


def test_a_state_of_another_topology_is_refused() -> None:
    """Its indices would name other GPUs."""
    annotation = encode_topology(PAIR)
    stranger = NodeState(topology_hash="0" * 16, sequence=0, free=())
    with pytest.raises(MalformedError, match="speaks of topology 0000000000000000"):
        check_state(stranger, PAIR, annotation)


def test_a_state_that_names_a_missing_gpu_is_refused() -> None:
    """An index beyond the node's GPUs is a defect of the writer."""
    annotation = encode_topology(PAIR)
    state = NodeState(topology_hash=topology_hash(annotation), sequence=0, free=(0, 2))
    with pytest.raises(MalformedError, match="speaks of GPU 2, but the node has 2"):
        check_state(state, PAIR, annotation)


def state_with(**change: Any) -> str:
    """A state of a machine whose GPU 0 is free and whose GPU 1 is cut, with some fields changed."""
    pools = (SlicePool("nvidia.com/mig-1g.10gb", 1, 7, 5),)
    state = NodeState(topology_hash="0" * 16, sequence=0, free=(0,), slices=pools)
    return json.dumps(json.loads(encode_state(state)) | change)


def test_a_state_from_before_slices_were_counted_does_not_know_them() -> None:
    """Unknown, not none."""
    document = json.loads(state_with())
    del document["slices"], document["held_slices"]
    state = decode_state(json.dumps(document))
    assert state.slices is None
    assert state.held_slices == ()


@pytest.mark.parametrize(
    ("pools", "sentence"),
    [
        ([("nvidia.com/mig-1g.10gb", 1, 7, 8)], "8 of 7 nvidia.com/mig-1g.10gb are said to be free"),
        ([("nvidia.com/gpu.shared", 0, 4, 4)], "GPU 0 is said to be free and yet cut or shared"),
        ([("nvidia.com/mig-1g.10gb", 1, 7, 5)] * 2, "slices names a resource of a GPU twice"),
        ([("nvidia.com/mig-1g.10gb", 1, 7, -1)], "slices.0.free"),
        ([("nvidia.com/mig-1g.10gb", 64, 7, 1)], "slices.0.gpu"),
    ],
)
def test_slices_that_contradict_themselves_are_refused(pools: list[tuple[Any, ...]], sentence: str) -> None:
    """The sentence says how."""
    documents = [dict(zip(("resource", "gpu", "total", "free"), pool, strict=True)) for pool in pools]
    with pytest.raises(MalformedError, match=sentence):
        decode_state(state_with(slices=documents))


def test_slices_of_a_missing_gpu_are_refused() -> None:
    """As for whole GPUs."""
    annotation = encode_topology(PAIR)
    pools = (SlicePool("nvidia.com/gpu.shared", None, 4, 4), SlicePool("nvidia.com/gpu.shared", 2, 4, 4))
    state = NodeState(topology_hash=topology_hash(annotation), sequence=0, free=(), slices=pools)
    with pytest.raises(MalformedError, match="speaks of GPU 2, but the node has 2"):
        check_state(state, PAIR, annotation)
