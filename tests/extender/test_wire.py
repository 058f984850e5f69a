"""The bytes that kube-scheduler sends and expects: k8s.io/kube-scheduler/extender/v1, types.go."""

import json
from typing import Any

import orjson
import pytest

from extender.wire import (
    RequestError,
    UnreadableError,
    decode_args,
    encode_filter_error,
    encode_filter_result,
    encode_host_priorities,
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
