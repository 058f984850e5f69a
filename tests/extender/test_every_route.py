"""Every route, asked what its description allows and what it does not: no other answer than those described, no 500."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.types import ASGIApp

from extender.app import create_app, create_page_app
from extender.bind import Binder
from extender.ledger import Ledger
from extender.page_token import PageToken
from extender.service import Service
from tests.extender.builders import bridged, node, pod, switched
from tests.extender.fake_pod_api import FakePodApi
from tests.extender.routes import KNOWN_NODES, OPENAPI, WAITING_POD
from tests.extender.test_app import client_of

CHECKS = [status_code_conformance, response_schema_conformance, content_type_conformance]
VERBS = [path for path, methods in OPENAPI["paths"].items() if "post" in methods]
PAGES = [path for path in OPENAPI["paths"] if path not in VERBS]
TOKEN = "a token for a test"  # noqa: S105  guards nothing
REASON = "the extender is still waiting"


def service_of(reason: str | None = None) -> Service:
    """A service that knows two nodes and may bind a pod."""
    ledger = Ledger(trusts_records=True)
    ledger.replace_nodes(
        [node(name, topology) for name, topology in zip(KNOWN_NODES, (bridged(4), switched(8)), strict=True)]
    )
    binder = Binder(ledger, FakePodApi(pod(WAITING_POD, 2)), doubt_seconds=60)
    return Service(ledger, binder=binder, waiting_for=lambda: reason)


def answers(path: str, mode: GenerationMode, app: ASGIApp, examples: int = 30, **headers: str) -> Counter[int]:
    """Ask again and again; how often each status was answered. The same questions every time."""
    schema: Any = schemathesis.openapi.from_dict(OPENAPI)
    schema.app = app
    [method] = OPENAPI["paths"][path]
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        statuses[case.call_and_validate(checks=CHECKS, headers=headers).status_code] += 1

    ask()
    return statuses


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("path", VERBS)
def test_a_verb_answers_as_described_whatever_it_is_asked(path: str, mode: GenerationMode) -> None:
    statuses = answers(path, mode, create_app(service_of()))
    assert statuses[200] > 0
    assert statuses.keys() <= {200, 422}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_answers_as_described_whoever_is_asked_about(path: str) -> None:
    statuses = answers(path, GenerationMode.POSITIVE, create_app(service_of()))
    assert statuses.keys() <= {200, 404}
    assert (404 in statuses) == ("{" in path)


@pytest.mark.parametrize("path", OPENAPI["paths"])
def test_until_the_books_are_complete_every_route_answers_as_described(path: str) -> None:
    statuses = answers(path, GenerationMode.POSITIVE, create_app(service_of(REASON)), examples=5)
    assert (503 in statuses) == (path in ("/readyz", "/v1/cluster", "/v1/explain/{namespace}/{pod}"))


@pytest.mark.parametrize("path", [path for path in PAGES if path.startswith("/v1/")])
def test_with_its_token_the_page_gets_the_same_answers(path: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    app = create_page_app(service_of(), PageToken(file))
    statuses = answers(path, GenerationMode.POSITIVE, app, examples=10, Authorization=f"Bearer {TOKEN}")
    assert statuses.keys() <= {200, 404}


UNDESCRIBED = [
    (method, path)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
    for path in [*OPENAPI["paths"], "/", "/docs", "/openapi.json", "/filter/", "//filter"]
    if method.lower() not in OPENAPI["paths"].get(path, {})
]


@pytest.mark.parametrize(("method", "path"), UNDESCRIBED)
async def test_nothing_else_is_answered(path: str, method: str) -> None:
    """Neither another method nor another path."""
    async with client_of(create_app(service_of())) as client:
        response = await client.request(method, path.replace("{", "").replace("}", ""))
    assert response.status_code in (404, 405)
