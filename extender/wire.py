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

from extender.pods import PodIdentity
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


@dataclass(frozen=True, slots=True)
class Victims:
    """Pods that are to be evicted from one node.

    Attributes:
        uids: of the pods, the most important first, as kube-scheduler sorts them.
        pdb_violations: how many of them a PodDisruptionBudget protects.
    """

    uids: tuple[str, ...]
    pdb_violations: int = 0


@dataclass(frozen=True, slots=True)
class ExtenderPreemptionArgs:
    """A preempt request.

    Attributes:
        pod: the pod that needs room, in the API server's JSON form.
        victims: by node.
    """

    pod: Mapping[str, Any]
    victims: Mapping[str, Victims]


@dataclass(frozen=True, slots=True)
class ExtenderBindingArgs:
    """A bind request: a pod, and the node that kube-scheduler has chosen for it."""

    namespace: str
    name: str
    uid: str
    node: str

    @property
    def pod(self) -> PodIdentity:
        """Which pod."""
        return PodIdentity(f"{self.namespace}/{self.name}", self.uid)


def decode_args(body: bytes) -> ExtenderArgs:
    """Read the body of a filter or prioritize request.

    Raises:
        UnreadableError: it is not JSON.
        RequestError: it is not an `ExtenderArgs`; the message names the field.
    """
    document, pod = _document_and_pod(body)
    nodes, names = document.get("Nodes"), document.get("NodeNames")
    if (nodes is None) == (names is None):
        raise RequestError("exactly one of Nodes and NodeNames must be set")
    if names is not None:
        return ExtenderArgs(pod, _names(names))
    by_name = _nodes_by_name(nodes)
    return ExtenderArgs(pod, list(by_name), by_name)


def decode_preemption_args(body: bytes) -> ExtenderPreemptionArgs:
    """Read the body of a preempt request.

    Raises:
        UnreadableError: it is not JSON.
        RequestError: it is not an `ExtenderPreemptionArgs`; the message names the field.
    """
    document, pod = _document_and_pod(body)
    whole, meta = document.get("NodeNameToVictims"), document.get("NodeNameToMetaVictims")
    if (whole is None) == (meta is None):
        raise RequestError("exactly one of NodeNameToVictims and NodeNameToMetaVictims must be set")
    name, nodes = ("NodeNameToMetaVictims", meta) if whole is None else ("NodeNameToVictims", whole)
    if not isinstance(nodes, dict):
        raise RequestError(f"{name} is {_kind(nodes)}, not an object")
    return ExtenderPreemptionArgs(pod, {node: _victims(f"{name}.{node}", each) for node, each in nodes.items()})


def decode_binding_args(body: bytes) -> ExtenderBindingArgs:
    """Read the body of a bind request.

    Raises:
        UnreadableError: it is not JSON.
        RequestError: it is not an `ExtenderBindingArgs`; the message names the field.
    """
    document = _document(body)
    fields = {field: document.get(field) for field in ("PodNamespace", "PodName", "PodUID", "Node")}
    for field, value in fields.items():
        if not isinstance(value, str) or not value:
            raise RequestError(f"{field} is {_kind(value) if value != '' else 'empty'}, not a name")
    return ExtenderBindingArgs(*map(str, fields.values()))


def encode_binding_result(error: str = "") -> bytes:
    """An `ExtenderBindingResult`: why the pod is not bound, or "" if it is."""
    return orjson.dumps({"Error": error})


def encode_preemption_result(victims: Mapping[str, Victims]) -> bytes:
    """An `ExtenderPreemptionResult`: pods by UID, whatever form the request came in."""
    nodes = {
        node: {"Pods": [{"UID": uid} for uid in each.uids], "NumPDBViolations": each.pdb_violations}
        for node, each in victims.items()
    }
    return orjson.dumps({"NodeNameToMetaVictims": nodes})


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


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"the request is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(f"the request is {_kind(document)}, not an object")
    return document


def _document_and_pod(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    document = _document(body)
    pod = document.get("Pod")
    if not isinstance(pod, dict):
        raise RequestError(f"Pod is {_kind(pod)}, not an object")
    return document, pod


def _victims(field: str, victims: object) -> Victims:
    if not isinstance(victims, dict):
        raise RequestError(f"{field} is {_kind(victims)}, not an object")
    pods = victims.get("Pods")
    if pods is None:  # how Go writes an empty list
        pods = []
    if not isinstance(pods, list):
        raise RequestError(f"{field}.Pods is {_kind(pods)}, not a list")
    violations = victims.get("NumPDBViolations", 0)
    if not isinstance(violations, int) or isinstance(violations, bool) or violations < 0:
        raise RequestError(f"{field}.NumPDBViolations is not a whole number from 0")
    return Victims(tuple(_uid(f"{field}.Pods[{place}]", pod) for place, pod in enumerate(pods)), violations)


def _uid(field: str, pod: object) -> str:
    """The UID of a `MetaPod`, or of a pod in the API server's JSON form."""
    fields = pod if isinstance(pod, dict) else {}
    metadata = fields.get("metadata")
    uid = metadata.get("uid") if isinstance(metadata, dict) else fields.get("UID")
    if not isinstance(uid, str):
        raise RequestError(f"{field} has no UID")
    return uid


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
