"""The extender's routes as an OpenAPI document, which it does not serve itself: a test makes up requests from it."""

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
KNOWN_NODES: Final = ("bridged", "switched")
WAITING_POD: Final = "waiting"
NAME: Final[Schema] = {"anyOf": [{"enum": [*KNOWN_NODES, WAITING_POD, "team"]}, TEXT]}
"""Of a node, a pod or a namespace: some that the test's extender knows, and any other."""
DETAIL: Final[Schema] = {
    "type": "object",
    "properties": {"detail": TEXT},
    "required": ["detail"],
    "additionalProperties": False,
}
NAMES: Final[Schema] = {"type": "array", "items": NAME, "maxItems": 5}
REASONS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}


def _record(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


POD: Final[Schema] = {
    "type": "object",
    "properties": {
        "metadata": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "namespace": {"type": "string"},
                "uid": {"type": "string"},
                "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "spec": {
            "type": "object",
            "properties": {
                "containers": {
                    "type": "array",
                    "maxItems": 3,
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": {"type": "string"},
                            "resources": {
                                "type": "object",
                                "properties": {
                                    "requests": {
                                        "type": "object",
                                        "properties": {"nvidia.com/gpu": {"type": "string"}},
                                    }
                                },
                            },
                        },
                    },
                }
            },
        },
    },
}
ASKED: Final = _record(
    Pod=POD, Nodes=_or_null({"type": "object", "properties": {"items": {"type": "array"}}}), NodeNames=_or_null(NAMES)
)
FILTERED: Final = _record(
    Nodes=_or_null({"type": "object"}),
    NodeNames=_or_null({"type": "array", "items": {"type": "string"}}),
    FailedNodes=REASONS,
    FailedAndUnresolvableNodes=REASONS,
    Error={"type": "string"},
)
PRIORITIES: Final[Schema] = {
    "type": "array",
    "items": _record(Host={"type": "string"}, Score={"type": "integer", "minimum": 1, "maximum": 10}),
}
PREEMPTION: Final = _record(
    Pod=POD,
    NodeNameToMetaVictims=_or_null(
        {"type": "object", "additionalProperties": _record(Pods={"type": "array", "items": _record(UID=TEXT)})}
    ),
    NodeNameToVictims=_or_null({"type": "object"}),
)
VICTIMS: Final = _record(NodeNameToMetaVictims={"type": "object"})
BINDING: Final = _record(PodName=NAME, PodNamespace=NAME, PodUID=TEXT, Node=NAME)
BOUND: Final = _record(Error={"type": "string"})


def _answer(schema: Schema, media_type: str = "application/json") -> Schema:
    return {"description": "an answer", "content": {media_type: {"schema": schema}}}


def _verb(asked: Schema, answered: Schema) -> Schema:
    return {
        "post": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
            "responses": {"200": _answer(answered), "422": _answer(DETAIL)},
        }
    }


def _page(*parameters: str, **responses: Schema) -> Schema:
    return {
        "get": {
            "parameters": [{"name": name, "in": "path", "required": True, "schema": NAME} for name in parameters],
            "responses": {status.removeprefix("status_"): answer for status, answer in responses.items()},
        }
    }


OPENAPI: Final[Schema] = {
    "openapi": "3.1.0",
    "info": {"title": "extender", "version": "1"},
    "paths": {
        "/filter": _verb(ASKED, FILTERED),
        "/prioritize": _verb(ASKED, PRIORITIES),
        "/preempt": _verb(PREEMPTION, VICTIMS),
        "/bind": _verb(BINDING, BOUND),
        "/v1/cluster": _page(status_200=_answer({"type": "object"}), status_503=_answer(DETAIL)),
        "/v1/pods": _page(status_200=_answer({}), status_503=_answer(DETAIL)),
        "/v1/nodes/{name}": _page("name", status_200=_answer({"type": "object"}), status_404=_answer(DETAIL)),
        "/v1/explain/{namespace}/{pod}": _page(
            "namespace",
            "pod",
            status_200=_answer({"type": "object"}),
            status_404=_answer(DETAIL),
            status_503=_answer(DETAIL),
        ),
        "/healthz": _page(status_200=_answer(TEXT, "text/plain")),
        "/readyz": _page(status_200=_answer(TEXT, "text/plain"), status_503=_answer(TEXT, "text/plain")),
        "/metrics": _page(status_200=_answer(TEXT, "text/plain")),
    },
}
