"""The bytes that kube-scheduler sends and expects: k8s.io/kube-scheduler/extender/v1, types.go."""

import json
from typing import Any

import orjson
import pytest

from extender.wire import (
    RequestError,
    UnreadableError,
    Victims,
    decode_args,
    decode_preemption_args,
    encode_filter_error,
    encode_filter_result,
    encode_host_priorities,
    encode_preemption_result,
)

NODES = [
    {"metadata": {"name": "a", "labels": {"zone": "1"}}, "status": {"images": [{"sizeBytes": 1}]}},
    {"metadata": {"name": "b"}, "spec": {"taints": None}},
]
BY_NAMES = {"Pod": {"metadata": {"name": "p"}}, "Nodes": None, "NodeNames": ["a", "b"]}
BY_NODES = {"Pod": {"metadata": {"name": "p"}}, "Nodes": {"metadata": {}, "items": NODES}, "NodeNames": None}


def test_names_are_read_as_names() -> None:
    args = decode_args(orjson.dumps(BY_NAMES))
    assert (args.pod, args.names, args.nodes) == ({"metadata": {"name": "p"}}, ["a", "b"], None)


def test_whole_nodes_are_read_by_name() -> None:
    args = decode_args(orjson.dumps(BY_NODES))
    assert args.names == ["a", "b"]
    assert args.nodes == {"a": NODES[0], "b": NODES[1]}


def test_an_empty_node_list_is_null_in_go() -> None:
    args = decode_args(orjson.dumps(BY_NODES | {"Nodes": {"items": None}}))
    assert (args.names, args.nodes) == ([], {})


def test_names_are_answered_with_names() -> None:
    args = decode_args(orjson.dumps(BY_NAMES))
    assert json.loads(encode_filter_result(args, ["b"], {"a": "busy"}, {})) == {
        "Nodes": None,
        "NodeNames": ["b"],
        "FailedNodes": {"a": "busy"},
        "FailedAndUnresolvableNodes": {},
        "Error": "",
    }


def test_whole_nodes_are_answered_with_the_same_nodes_unchanged() -> None:
    args = decode_args(orjson.dumps(BY_NODES))
    assert json.loads(encode_filter_result(args, ["b"], {}, {"a": "too small"})) == {
        "Nodes": {"items": [NODES[1]]},
        "NodeNames": None,
        "FailedNodes": {},
        "FailedAndUnresolvableNodes": {"a": "too small"},
        "Error": "",
    }


def test_nothing_passed_is_an_empty_list_and_not_null() -> None:
    """Null would mean that the other form is used."""
    names = encode_filter_result(decode_args(orjson.dumps(BY_NAMES)), [], {}, {})
    nodes = encode_filter_result(decode_args(orjson.dumps(BY_NODES)), [], {}, {})
    assert json.loads(names)["NodeNames"] == []
    assert json.loads(nodes)["Nodes"] == {"items": []}


def test_an_error_is_said_in_the_result() -> None:
    assert json.loads(encode_filter_error("no idea")) == {
        "Nodes": None,
        "NodeNames": None,
        "FailedNodes": {},
        "FailedAndUnresolvableNodes": {},
        "Error": "no idea",
    }


def test_priorities_are_a_bare_list() -> None:
    assert json.loads(encode_host_priorities([(10, ["a", "c"]), (1, ["b"])])) == [
        {"Host": "a", "Score": 10},
        {"Host": "c", "Score": 10},
        {"Host": "b", "Score": 1},
    ]


@pytest.mark.parametrize("body", [b"", b"{", b'{"Pod": NaN}', b"\xff", b"[" * 5000])
def test_what_is_not_json_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError, match="the request is not JSON"):
        decode_args(body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Pod": None}, "Pod is missing, not an object"),
        ({"Pod": [1]}, "Pod is a list, not an object"),
        ({"NodeNames": None}, "exactly one of Nodes and NodeNames must be set"),
        ({"Nodes": {"items": []}}, "exactly one of Nodes and NodeNames must be set"),
        ({"NodeNames": "a"}, "NodeNames is a string, not a list"),
        ({"NodeNames": ["a", 7, None]}, r"NodeNames\[1\] is a number, not a string"),
        ({"NodeNames": None, "Nodes": True}, "Nodes is a boolean, not an object"),
        ({"NodeNames": None, "Nodes": {"items": 1.5}}, "Nodes.items is a number, not a list"),
        ({"NodeNames": None, "Nodes": {"items": [{}]}}, r"Nodes.items\[0\].metadata.name is missing, not a string"),
        ({"NodeNames": None, "Nodes": {"items": [7]}}, r"Nodes.items\[0\].metadata.name is missing, not a string"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        decode_args(orjson.dumps(BY_NAMES | change))


def test_a_request_that_is_no_object_is_refused() -> None:
    with pytest.raises(RequestError, match="the request is a list, not an object"):
        decode_args(b"[]")


def test_nodes_nested_too_deeply_to_be_written_back_are_refused() -> None:
    """The JSON reader goes deeper than the writer."""
    deep = '{"metadata": {"name": "a"}, "x": ' + "[" * 300 + "]" * 300 + "}"
    args = decode_args(f'{{"Pod": {{}}, "Nodes": {{"items": [{deep}]}}}}'.encode())
    with pytest.raises(RequestError, match="Nodes cannot be handed back"):
        encode_filter_result(args, ["a"], {}, {})


def preemption(**fields: Any) -> bytes:
    """A preempt request with these fields."""
    document = {"Pod": {"metadata": {"name": "p"}}, "NodeNameToVictims": None, "NodeNameToMetaVictims": None}
    return orjson.dumps(document | fields)


def test_victims_are_read_by_uid() -> None:
    nodes = {"a": {"Pods": [{"UID": "u1"}, {"UID": "u2"}], "NumPDBViolations": 1}, "b": {"Pods": None}}
    args = decode_preemption_args(preemption(NodeNameToMetaVictims=nodes))
    assert args.pod == {"metadata": {"name": "p"}}
    assert args.victims == {"a": Victims(("u1", "u2"), 1), "b": Victims(())}


def test_victims_are_read_from_whole_pods_too() -> None:
    nodes = {"a": {"Pods": [{"metadata": {"uid": "u1"}, "spec": {"priority": 7}}], "NumPDBViolations": 0}}
    assert decode_preemption_args(preemption(NodeNameToVictims=nodes)).victims == {"a": Victims(("u1",))}


def test_victims_are_answered_by_uid() -> None:
    assert json.loads(encode_preemption_result({"a": Victims(("u1",), 1)})) == {
        "NodeNameToMetaVictims": {"a": {"Pods": [{"UID": "u1"}], "NumPDBViolations": 1}}
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one of NodeNameToVictims and NodeNameToMetaVictims must be set"),
        ({"NodeNameToVictims": {}, "NodeNameToMetaVictims": {}}, "exactly one of NodeNameToVictims and"),
        ({"Pod": None, "NodeNameToMetaVictims": {}}, "Pod is missing, not an object"),
        ({"NodeNameToVictims": []}, "NodeNameToVictims is a list, not an object"),
        ({"NodeNameToMetaVictims": {"a": None}}, "NodeNameToMetaVictims.a is missing, not an object"),
        ({"NodeNameToMetaVictims": {"a": {"Pods": {}}}}, "NodeNameToMetaVictims.a.Pods is an object, not a list"),
        ({"NodeNameToMetaVictims": {"a": {"Pods": [1]}}}, "NodeNameToMetaVictims.a.Pods[0] has no UID"),
        ({"NodeNameToMetaVictims": {"a": {"Pods": [{"UID": 1}]}}}, "NodeNameToMetaVictims.a.Pods[0] has no UID"),
        ({"NodeNameToVictims": {"a": {"Pods": [{"metadata": 1}]}}}, "NodeNameToVictims.a.Pods[0] has no UID"),
        (
            {"NodeNameToVictims": {"a": {"Pods": [], "NumPDBViolations": -1}}},
            "NodeNameToVictims.a.NumPDBViolations is not a whole number from 0",
        ),
    ],
)
def test_a_preempt_request_that_is_not_one_is_refused_with_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        decode_preemption_args(preemption(**fields))
    assert str(refusal.value).startswith(message)
