"""How the annotations are written and read: compact JSON with a version, checked strictly.

What is wrong is said in one sentence that names the annotation and the field.
"""

from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gpu_topology.errors import ForeignVersionError, MalformedError, OversizedError

VERSION: Final = 1
MAX_ANNOTATION_BYTES: Final = 256 * 1024
"""What the API server takes for all annotations of an object together
(k8s.io/apimachinery, `TotalAnnotationSizeLimitB`)."""


class Document(BaseModel):
    """What stands in the JSON of an annotation. Keys that are not known are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


AnyDocument = TypeVar("AnyDocument", bound=Document)


def encode(key: str, document: Document) -> str:
    """The value of an annotation.

    Raises:
        OversizedError: it would not fit into an object's annotations.
    """
    text = document.model_dump_json()
    _check_size(key, text)
    return text


def decode(key: str, text: str, document: type[AnyDocument]) -> AnyDocument:
    """The document that `encode` wrote.

    Raises:
        MalformedError, OversizedError, ForeignVersionError: it is not one.
    """
    _check_size(key, text)
    try:
        return document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise MalformedError(key, f"is not JSON: {first['ctx']['error']}") from error
        _check_version(key, text)
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise MalformedError(key, f"{where}: {first['msg']}") from error


class _Versioned(BaseModel):
    version: Any = None


def _check_version(key: str, text: str) -> None:
    """Raise for a foreign version, which explains every other misfit."""
    try:
        version = _Versioned.model_validate_json(text).version
    except ValidationError:
        return  # not an object at all: the caller's own error says so
    if version is not None and version != VERSION:
        raise ForeignVersionError(key, f"is of version {str(version)[:20]!r}; this program reads version {VERSION}")


def _check_size(key: str, text: str) -> None:
    size = len(text.encode())
    if size > MAX_ANNOTATION_BYTES:
        raise OversizedError(key, f"is {size} bytes long; an object's annotations take {MAX_ANNOTATION_BYTES} together")
