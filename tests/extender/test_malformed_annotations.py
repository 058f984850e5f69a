"""Whatever a node's annotations say: its books say so, and those of the other nodes are as they were."""

import copy
import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.ledger import Ledger
from extender.service import Service
from gpu_topology.contract import STATE_ANNOTATION, TOPOLOGY_ANNOTATION
from tests.extender.builders import bridged, holder, node, pod, switched
from tests.extender.test_ledger import free_gpus
from tests.extender.test_malformed_requests import JUNK, places

GOOD = node("damaged", bridged(4), held=[holder("first", [0]), holder("second", [2, 3], uid="uid-of-second")])
OTHER = node("other", switched(8), held=[holder("third", [5])])
BOUND = [pod("fourth", 1, on="damaged"), pod("fifth", 2, on="other")]
ASKED = orjson.dumps({"Pod": pod("asks", 1), "Nodes": None, "NodeNames": ["damaged", "other"]})


@st.composite
def damaged_texts(draw: st.DrawFn, text: str) -> str:
    """JSON of which fields are dropped or hold something else, or a text of which pieces are missing or wrong."""
    if draw(st.booleans()):
        cut, after = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        return text[:cut] + draw(st.text(max_size=4)) + draw(st.sampled_from([text[after:], text[cut + 1 :], ""]))
    document = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        parent, key = draw(st.sampled_from(list(places(document))))
        if draw(st.booleans()) and isinstance(parent, dict):
            del parent[key]
        else:
            parent[key] = copy.deepcopy(draw(JUNK))
        if not document:
            break
    return json.dumps(document)


@st.composite
def damaged_nodes(draw: st.DrawFn) -> dict[str, Any]:
    damaged = copy.deepcopy(GOOD)
    annotations = damaged["metadata"]["annotations"]
    for key in draw(
        st.sampled_from([[TOPOLOGY_ANNOTATION], [STATE_ANNOTATION], [TOPOLOGY_ANNOTATION, STATE_ANNOTATION]])
    ):
        annotations[key] = draw(damaged_texts(annotations[key]))
    return damaged


@settings(max_examples=500, deadline=None)
@given(damaged=damaged_nodes())
def test_a_damaged_annotation_concerns_its_own_node_alone_until_it_is_whole_again(damaged: dict[str, Any]) -> None:
    ledger, service = books()
    before = free_gpus(ledger, "damaged"), free_gpus(ledger, "other")
    ledger.apply_node(damaged)
    answer = orjson.loads(service.filter(ASKED))
    assert answer["Error"] == ""
    assert "other" in answer["NodeNames"]
    assert orjson.loads(service.prioritize(ASKED))
    assert service.account_of("damaged") is not None
    assert free_gpus(ledger, "other") == before[1]
    ledger.apply_node(GOOD)
    assert (free_gpus(ledger, "damaged"), free_gpus(ledger, "other")) == before


def books() -> tuple[Ledger, Service]:
    ledger = Ledger()
    ledger.replace_nodes([GOOD, OTHER])
    ledger.replace_pods(BOUND)
    return ledger, Service(ledger)
