"""What kube-scheduler and an extender say to one another, byte for byte.

The shapes are those of k8s.io/kube-scheduler/extender/v1, types.go: JSON objects whose keys are the Go field names.
Exactly one of `Nodes` and `NodeNames` is set in a request, and the answer uses the same one. Whole nodes are handed
back as they came. Everything is read leniently, field by field, into plain Python: a full object model would cost more
time than the decision itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gpu_topology.errors import GpuTopologyError


class UnreadableError(GpuTopologyError):
    """The body of a request is not JSON."""


class RequestError(GpuTopologyError):
    """A request is JSON, but a field that is needed is missing, of the wrong type or too large."""


@dataclass(frozen=True, slots=True)
class ExtenderArgs:
    """A filter or prioritize request.

    Attributes:
        pod: the pod, in the API server's JSON form.
        names: names of the candidate nodes, in the order of the request.
        nodes: the node objects by name, where the request came with whole nodes; None where it came with names.
    """

    pod: Mapping[str, Any]
    names: Sequence[str]
    nodes: Mapping[str, Any] | None = None


def decode_args(body: bytes) -> ExtenderArgs:
    """Read the body of a filter or prioritize request.

    Raises:
        UnreadableError: it is not JSON.
        RequestError: it is not an `ExtenderArgs`; the message names the field.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the request is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(f"the request is {_kind(document)}, not an object")
    pod = document.get("Pod")
    if not isinstance(pod, dict):
        raise RequestError(f"Pod is {_kind(pod)}, not an object")
    nodes, names = document.get("Nodes"), document.get("NodeNames")
    if (nodes is None) == (names is None):
        raise RequestError("exactly one of Nodes and NodeNames must be set")
    if names is not None:
        return ExtenderArgs(pod, _names(names))
    by_name = _nodes_by_name(nodes)
    return ExtenderArgs(pod, list(by_name), by_name)


def encode_filter_result(
    args: ExtenderArgs,
    passed: Sequence[str],
    failed: Mapping[str, str],
    unresolvable: Mapping[str, str],
) -> bytes:
    """An `ExtenderFilterResult` in the form that the request came in.

    Args:
        args: the request that is answered.
        passed: nodes that can serve the pod.
        failed: node to the reason why it cannot, where evicting pods might help.
        unresolvable: node to the reason why it cannot, where evicting pods would not help.

    Raises:
        RequestError: the whole nodes of the request are nested too deeply to be written back.
    """
    result = {
        "Nodes": None if args.nodes is None else {"items": [args.nodes[name] for name in passed]},
        "NodeNames": passed if args.nodes is None else None,
        "FailedNodes": failed,
        "FailedAndUnresolvableNodes": unresolvable,
        "Error": "",
    }
    try:
        return orjson.dumps(result)
    except orjson.JSONEncodeError as error:
        raise RequestError(f"Nodes cannot be handed back: {error}") from error


def encode_filter_error(message: str) -> bytes:
    """An `ExtenderFilterResult` that fails the pod's scheduling cycle; its event shows the message."""
    return orjson.dumps(
        {"Nodes": None, "NodeNames": None, "FailedNodes": {}, "FailedAndUnresolvableNodes": {}, "Error": message}
    )


def encode_host_priorities(scored: Iterable[tuple[int, Sequence[str]]]) -> bytes:
    """A `HostPriorityList`, from scores and the nodes that have them. A node that is not in it counts as score 0."""
    return orjson.dumps([{"Host": name, "Score": score} for score, names in scored for name in names])


def _names(names: object) -> list[str]:
    if not isinstance(names, list):
        raise RequestError(f"NodeNames is {_kind(names)}, not a list")
    # One pass in C over what may be thousands of names; the offender is looked for only if there is one.
    if not set(map(type, names)) <= {str}:
        position = next(index for index, name in enumerate(names) if not isinstance(name, str))
        raise RequestError(f"NodeNames[{position}] is {_kind(names[position])}, not a string")
    return names


def _nodes_by_name(nodes: object) -> dict[str, Any]:
    if not isinstance(nodes, dict):
        raise RequestError(f"Nodes is {_kind(nodes)}, not an object")
    items = nodes.get("items")
    if items is None:  # how Go writes an empty list
        return {}
    if not isinstance(items, list):
        raise RequestError(f"Nodes.items is {_kind(items)}, not a list")
    return {_name_of(node, position): node for position, node in enumerate(items)}


def _name_of(node: object, position: int) -> str:
    metadata = node.get("metadata") if isinstance(node, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str):
        raise RequestError(f"Nodes.items[{position}].metadata.name is {_kind(name)}, not a string")
    return name


def _kind(value: object) -> str:
    """What a JSON value is, for a person."""
    match value:
        case None:
            return "missing"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
