"""A cordon names GPUs by index or UUID; one that cannot be read is refused as a whole."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_topology.cordon import CORDON_ANNOTATION, parse_cordon
from gpu_topology.errors import MalformedError
from gpu_topology.topology import Gpu, NodeTopology

SIZE = 8
UUIDS = [f"GPU-0000000{index}-aaaa-bbbb-cccc-0123456789ab" for index in range(SIZE)]
TOPOLOGY = NodeTopology(tuple(Gpu(uuid=uuid) for uuid in UUIDS), ((None,) * SIZE,) * SIZE, ((0,) * SIZE,) * SIZE)


@given(st.frozensets(st.integers(0, SIZE - 1), min_size=1), st.data())
def test_every_gpu_that_is_named_in_either_way_is_cordoned(gpus: frozenset[int], data: st.DataObject) -> None:
    names = [data.draw(st.sampled_from([str(gpu), UUIDS[gpu], UUIDS[gpu].upper(), f" {gpu} "])) for gpu in gpus]
    assert parse_cordon(",".join(names), TOPOLOGY) == gpus


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_cordon_takes_out_none(text: str) -> None:
    assert parse_cordon(text, TOPOLOGY) == frozenset()


def test_a_gpu_may_be_named_twice() -> None:
    assert parse_cordon(f"3,{UUIDS[3]}", TOPOLOGY) == {3}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("8", "names GPU 8, but the node has 8"),
        ("9" * 5000, "names GPU 999"),
        ("0,", "'' is neither"),
        ("0 3", "'0 3' is neither"),
        ("-1", "'-1' is neither"),
        ("²", "'²' is neither"),
        ("all", "'all' is neither"),
        ("1,GPU-other", "'GPU-other' is neither"),
        ("[0]", "neither the index nor the UUID"),
    ],
)
def test_what_is_no_gpu_of_the_node_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(MalformedError, match=CORDON_ANNOTATION) as caught:
        parse_cordon(text, TOPOLOGY)
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_uuid_may_be_that_of_a_lost_gpu_whose_uuid_is_not_known() -> None:
    """It cannot be handed out anyway, and the rest of the cordon must go on to hold."""
    lost = replace(TOPOLOGY, gpus=(*TOPOLOGY.gpus[:7], Gpu()))
    assert parse_cordon(f"0,{UUIDS[7]}", lost) == {0}
    with pytest.raises(MalformedError):
        parse_cordon("0,nonsense", lost)


@given(st.text())
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        gpus = parse_cordon(text, TOPOLOGY)
    except MalformedError:
        return
    assert gpus <= set(range(SIZE))
